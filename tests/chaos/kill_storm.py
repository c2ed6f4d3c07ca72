"""A server is killed again and again under many live calls: at most a second of each voice is lost, no note has a hole,
the paperwork is completed by the next start, and every patient whose visit broke off is to be called again.

    python3 tests/chaos/kill_storm.py [--calls 12] [--rounds 2] [--seed 1]
"""

import argparse
import csv
import json
import os
import pathlib
import random
import signal
import sqlite3
import sys
import time
import wave

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "sdk"))
from harness import Checks, Installation, Process, run, wait_until  # noqa: E402

FINISHED = ("completed", "handed_over")


def patients(place, count):
    """Enrols patients and gives their numbers."""
    numbers = [f"+1202555{1000 + n}" for n in range(count)]
    path = os.path.join(place.directory, "patients.csv")
    with open(path, "w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["external_id", "name", "phone", "birth_date", "sex", "language", "timezone"])
        for n, number in enumerate(numbers):
            rows.writerow([f"STORM-{n}", f"Quentin Storm{n}", number, "1948-04-01", "female", "en", "America/New_York"])
    done = run("patient", "import", path, directory=place.directory, **place.settings)
    if done.returncode != 0:
        raise SystemExit(f"FAIL patient import: {done.stderr}")
    return numbers


def rows(place, sql):
    """Reads the database beside the server; everything that matters in it is sealed, its shape is not."""
    with sqlite3.connect(f"file:{os.path.join(place.directory, 'heartvoice.db')}?mode=ro", uri=True, timeout=10) as db:
        return db.execute(sql).fetchall()


def length_s(path):
    with wave.open(path) as audio:
        return audio.getnframes() / audio.getframerate()


def a_round(place, check, numbers, seed, report):
    chance = random.Random(seed)
    known = {call["id"] for call in place.query("call", "list", "--limit", "1000")}
    with place.serve() as server:
        callers = []
        for number in numbers:
            callers.append(Process("simulate", "call", "--to", f"{place.base}/twilio/voice", "--from", number,
                                   "--scenario", "stable", "--seed", str(seed), "--format", "json"))
            time.sleep(0.1)
        time.sleep(chance.uniform(6, 30))
        server.stop(signal.SIGKILL)
    spoken = []
    for caller in callers:
        caller.child.wait(120)
        caller.stop()
        spoken.append(json.loads(caller.out)["spoken_bytes"] / 8_000 if caller.out.strip() else 0.0)
    # Before anything is mended: what is in the database, or sealed in the spool, is what was acknowledged.
    holes = rows(place, "SELECT call_id FROM events GROUP BY call_id HAVING COUNT(*) <> MAX(seq) + 1")
    check.want(f"seed {seed}: no timeline has a hole", not holes, holes)
    before = dict(rows(place, "SELECT call_id, COUNT(*) FROM events GROUP BY call_id"))

    with place.serve() as server:
        def new_calls():
            return [call for call in place.query("call", "list", "--limit", "1000") if call["id"] not in known]

        wait_until(lambda: all(call["outcome"] != "in_progress" for call in new_calls()), 60, "the calls to be closed")
        calls = new_calls()
        broken = [call["id"] for call in calls if call["outcome"] not in FINISHED]
        check.want(f"seed {seed}: every call that began is known", len(calls) == sum(s > 0 for s in spoken),
                   f"{len(calls)} calls, {sum(s > 0 for s in spoken)} callers")
        after = dict(rows(place, "SELECT call_id, COUNT(*) FROM events GROUP BY call_id"))
        lost = [call for call, count in before.items() if after.get(call, 0) < count]
        check.want(f"seed {seed}: no acknowledged event is lost", not lost, lost)

        def visits():
            return {row[0] for row in rows(place, "SELECT call_id FROM visits")}

        def called_back():
            return {row[0].removeprefix("back-") for row in rows(place, "SELECT id FROM planned_calls WHERE id LIKE 'back-%'")}

        wait_until(lambda: set(broken) <= visits(), 180, "the paperwork of the broken calls")
        patients_of = {call["id"]: call["patient_id"] for call in calls}
        complete = {call for call in broken
                    if (place.query("call", "show", call).get("visit") or {}).get("complete")}
        def waiting_calls():
            # One open call-back for each patient is enough, whichever of their calls it is for.
            open_for = {row[0] for row in rows(
                place, "SELECT patient_id FROM planned_calls WHERE id LIKE 'back-%' AND state = 'open'")}
            return [call for call in broken if call not in complete and patients_of[call] not in open_for]

        deadline = time.monotonic() + 60
        while waiting_calls() and time.monotonic() < deadline:
            time.sleep(0.5)
        waiting = waiting_calls()
        check.want(f"seed {seed}: every patient whose visit broke off is called again", not waiting,
                   f"{len(waiting)} of {len(broken)}; planned: {len(called_back())}")

        losses = []
        by_number = dict(zip(numbers, spoken))
        phones = {patient["id"]: patient["phone"] for patient in place.query("patient", "list")}
        for call in calls:
            folder = os.path.join(place.directory, "export", call["id"])
            place.query("call", "export", call["id"], "--output", folder)
            sent = by_number.get(phones.get(call["patient_id"]), 0.0)
            losses.append(sent - length_s(os.path.join(folder, "patient.wav")))
        worst = max(losses, default=0.0)
        check.want(f"seed {seed}: at most a second of a voice is lost", worst <= 1.0, f"{worst:.2f} s")
        report.append((len(calls), len(broken), len(complete), worst, sum(after.values())))
        check.want(f"seed {seed}: the server stops cleanly", server.stop() == 0, server.err[-500:])


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--calls", type=int, default=12)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--seed", type=int, default=1)
    options = options.parse_args()
    check, report = Checks(), []
    with Installation() as place:
        # Calls are to be planned, and not yet placed: there is nobody here to place them with.
        place.settings.update(TWILIO_PHONE_NUMBER="+12025550100", CALL_BACK_AFTER="240")
        numbers = patients(place, options.calls)
        for number in range(options.rounds):
            a_round(place, check, numbers, options.seed + number, report)
    calls, broken, complete = (sum(row[n] for row in report) for n in range(3))
    print(f"     {options.rounds} kills under {options.calls} calls: {calls} calls, {broken} broken off, {complete} of them "
          f"with a complete visit; most lost of a voice {max((row[3] for row in report), default=0):.2f} s")
    check.finish()


main()
