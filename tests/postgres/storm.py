"""Kills a process that writes, again and again, and looks each time whether what the store had acknowledged is there.

    storm.py --program PATH [--rounds 50] [--postgres]

PATH is the example `storm` of the crate `store`. With --postgres the database is a new one on HEARTVOICE_TEST_POSTGRES,
and in every fifth round the database server is stopped as by a power cut as well, where HEARTVOICE_TEST_POSTGRES_CRASH
says how; otherwise it is an SQLite file. Whether the disk itself keeps what it was told to is not tried.
"""

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import tempfile
import threading
import time


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seed = options.seed or random.randrange(1 << 30)
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="heartvoice-storm-") as folder:
        place = [f"sqlite://{folder}/storm.db", f"{folder}/audio"]
        if options.postgres:
            name = f"storm_{secrets.token_hex(6)}"
            server = os.environ["HEARTVOICE_TEST_POSTGRES"]
            psql = os.path.join(os.environ.get("PGBIN", ""), "psql")
            subprocess.run([psql, f"{server}/postgres", "-qc", f"CREATE DATABASE {name}"], check=True)
            place[0] = f"{server}/{name}"
        environment = {**os.environ, "ENCRYPTION_KEY": secrets.token_hex(32)}

        def check(promises, *how):
            done = subprocess.run([options.program, "check", *place, *how], env=environment, text=True,
                                  input="\n".join(promises), capture_output=True)
            if done.returncode != 0:
                raise SystemExit(f"round {number} (seed {seed}): {done.stderr.strip()}")
            return json.loads(done.stdout)

        everything, crashes = [], 0
        crash = os.environ.get("HEARTVOICE_TEST_POSTGRES_CRASH") if options.postgres else None
        for number in range(options.rounds):
            storm = subprocess.Popen([options.program, "write", *place, str(number)], env=environment, text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            promises, began = [], threading.Event()

            def listen():
                for line in storm.stdout:
                    # A line that was cut off promises nothing.
                    if line.endswith("\n"):
                        promises.append(line.strip())
                    began.set()
                began.set()

            listener = threading.Thread(target=listen)
            listener.start()
            if not began.wait(60):
                raise SystemExit(f"round {number}: nothing was written")
            time.sleep(dice.uniform(0.0, 1.6))
            if crash and number % 5 == 4:
                subprocess.run([crash], check=True)
                crashes += 1
            storm.send_signal(signal.SIGKILL)
            storm.wait()
            listener.join()
            check(promises)
            everything += promises
        found = check(everything, "whole")
    if len(everything) < 5 * options.rounds:
        raise SystemExit(f"only {len(everything)} promises: not a storm")
    print(f"{options.rounds} kills{f', {crashes} of the database too' if crashes else ''}: {found['promises']} promises kept, "
          f"{found['calls']} calls whole, {found['entries']} entries of the trail verified (seed {seed})")


if __name__ == "__main__":
    main()
