"""No file, log or temporary folder holds anything of a patient in clear, and who was erased cannot be read by any key.

A whole demonstration and everything that staff do with the interface leave their traces; then every byte of every file is
searched for names, numbers, dates, identifiers, sentences, answers, notes, reasons and the very sound of voices, in every
wrapping that files know. What is sealed is opened by an independent reading of the formats: before the erasure of a patient
with success, afterwards with every key there is and without.

With FHIR set to a folder, the audit trail of all that is left there as FHIR, for other checks.
"""

import array
import json
import os
import pathlib
import shutil
import sqlite3
import sys
import tempfile
import urllib.request
import wave

import searcher
import unsealing
from harness import ACCOUNT, TOKEN, Checks, Process, free_port, run, status_of, wait_until
from people import PASSWORD, Person

NAME, PHONE, RECORD, BORN = "Zebulon Quixworthy", "+12025550188", "MRN-7788-QX", "1931-12-07"
ADDED = {"external_id": "MRN-4242-OK", "name": "Wilhelmina Ostrander-Kipfler", "phone": "+13125550139", "birth_date": "1937-08-29",
         "sex": "female", "language": "en", "timezone": "America/Chicago"}
DEMO_BORN = "1948-04-01"
TAKEN_UP = "Telephoned her daughter Philippa about the swollen ankles at noon"
RESOLVED = "Furosemide doubled by Doctor Abernathy until Thursday evening"
REASON = "Brought in unconscious by the river ambulance with no papers on him"
# First names of the demonstration that mean nothing else; family names there are words of programs, such as Sample.
ALONE = ["Bruno", "Carla", "Dmitri", "Esther", "Farid", "Zebulon", "Quixworthy", "Wilhelmina", "Ostrander", "Kipfler", "Philippa", "Abernathy"]
CALLS = sys.argv[1] if len(sys.argv) > 1 else "6"

check = Checks()


def ulaw_of(path):
    """The bytes on the line, from the samples that were made of them."""
    def sample(byte):
        byte = ~byte & 0xFF
        magnitude = (((byte & 15) << 3) + 132 << (byte >> 4 & 7)) - 132
        return -magnitude if byte & 0x80 else magnitude
    back = {sample(byte): byte for byte in range(256)}
    with wave.open(str(path)) as sound:
        if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (8000, 1, 2):
            raise SystemExit(f"FAIL {path} is not what the telephone carried")
        samples = array.array("h", sound.readframes(sound.getnframes()))
    return bytes(back.get(value, 0xFF) for value in samples)


class Place:
    """Folders of an installation: what is searched, and what is meant to hold records in clear."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.searched = ["data", "temp", "logs", "backups", "exports"]
        for name in [*self.searched, "private"]:
            (self.folder / name).mkdir(mode=0o700)
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.logs = 0

    def path(self, *parts):
        return self.folder.joinpath(*parts)

    def log(self, text, kind):
        self.logs += 1
        self.path("logs", f"{self.logs:03}-{kind}.log").write_text(text)

    def settings(self, agent):
        data = self.path("data")
        return {
            "DATABASE_URL": f"sqlite://{data}/heartvoice.db", "AUDIO_STORE": f"{data}/audio",
            "ENCRYPTION_KEY": (data / "demo.key").read_text().strip(), "KEY_BACKUP_FILE": str(self.path("backups", "keys.hvb")),
            "AUDIT_CHECKPOINT_FILE": str(self.path("logs", "checkpoints.jsonl")), "BIND_ADDR": "127.0.0.1", "PORT": str(self.port),
            "PUBLIC_BASE_URL": self.base, "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "ELEVENLABS_API_KEY": "sk_check",
            "ELEVENLABS_AGENT_ID": "agent_check", "ELEVENLABS_BASE_URL": agent, "TMPDIR": str(self.path("temp")),
            "HEARTVOICE_LOG": "trace", "HEARTVOICE_LOG_FORMAT": "json",
        }

    def command(self, *args, okay=True, seconds=120):
        """Runs a command; what it logs is searched, what it prints is not."""
        done = run(*args, directory=str(self.path("temp")), seconds=seconds, **self.set)
        self.log(done.stderr, "command")
        if okay and done.returncode != 0:
            raise SystemExit(f"FAIL {' '.join(args)}: exit code {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout if okay else done

    def json(self, *args):
        return json.loads(self.command(*args, "--format", "json"))


def demonstrate(place):
    done = run("demo", "--once", "--calls", CALLS, "--format", "json", "--data-dir", str(place.path("data")), seconds=400,
               HEARTVOICE_LOG="trace", TMPDIR=str(place.path("temp")))
    check.want("the demonstration goes well", done.returncode == 0, done.stderr[-2000:])
    place.log(done.stderr, "demo")
    return json.loads(done.stdout)


def person(place, name, role):
    return Person(place.base, place.json("user", "add", "--name", name, "--role", role)["set_up_url"], name).sign_in()


def expect(answer, *statuses):
    if answer.status not in statuses:
        raise SystemExit(f"FAIL expected {statuses}, got {answer.status}: {answer.text[:1000]}")
    return answer.json() if answer.body else None


def work(place, patients):
    """What staff do, as far as it leaves traces."""
    by_number = {patient["external_id"]: patient["id"] for patient in patients}
    zebulon, stranger = by_number[RECORD], by_number["DEMO-001"]
    admin, nurse = person(place, "olga.admin", "admin"), person(place, "nora.nurse", "clinician")
    for number, patient in by_number.items():
        if number != "DEMO-001":
            place.command("user", "assign", "nora.nurse", "--patient", patient)
    added = expect(admin.ask("POST", "/api/v1/patients", ADDED), 201)
    place.command("user", "assign", "nora.nurse", "--patient", added["id"])
    care = nurse.ask("GET", f"/api/v1/patients/{zebulon}/care")
    expect(nurse.ask("PATCH", f"/api/v1/patients/{zebulon}/care", {"pin": "730194", "dry_weight_kg": 81.5},
                     Content_Type="application/merge-patch+json", If_Match=care.headers["ETag"]), 200)
    expect(nurse.ask("POST", "/api/v1/schedules", {"patient_id": zebulon, "days": "daily"}), 201)
    expect(nurse.ask("GET", f"/api/v1/patients/{stranger}"), 404)
    expect(nurse.ask("POST", f"/api/v1/patients/{stranger}/break-glass", {"code": "emergency", "reason": REASON}), 201)
    opened = expect(nurse.ask("GET", f"/api/v1/patients/{stranger}"), 200)
    check.want("a record is opened with a reason", opened["name"] == "Ada Example", opened)
    alerts = [alert for alert in expect(nurse.ask("GET", "/api/v1/alerts?limit=200"), 200)["items"] if alert["status"] != "resolved"]
    check.want("there are alerts to take up", bool(alerts), alerts)
    for alert in alerts:
        # Nobody takes up the alert about what they did themselves.
        who = admin if alert["kind"] == "break_glass" else nurse
        expect(who.ask("POST", f"/api/v1/alerts/{alert['id']}/acknowledge", {"note": TAKEN_UP}), 200)
    own = next(alert for alert in alerts if alert["kind"] != "break_glass")
    expect(nurse.ask("POST", f"/api/v1/alerts/{own['id']}/resolve", {"note": RESOLVED}), 200)
    calls = expect(nurse.ask("GET", "/api/v1/calls?limit=200"), 200)["items"]
    for call in calls[:3]:
        for part in ("", "/transcript", "/assessment", "/biomarkers", "/events", "/visit", "/audio"):
            nurse.ask("GET", f"/api/v1/calls/{call['id']}{part}")
    # Mistakes are logged, too.
    nurse.ask("GET", f"/api/v1/patients/{NAME.replace(' ', '%20')}")
    nurse.ask("GET", f"/api/v1/alerts?patient_id={PHONE.replace('+', '%2B')}")
    nurse.ask("POST", "/api/v1/patients", {**ADDED, "phone": f"my number is {ADDED['phone']}"})
    nurse.ask("POST", "/api/v1/patients", json.dumps(ADDED)[:-9], Content_Type="application/json")
    nurse.ask("POST", "/api/v1/patients", {**ADDED, NAME: BORN})
    return added["id"]


def learn(place, report, spoken):
    """Everything that must not be found, and who it is of."""
    search = searcher.Searcher()
    patients = place.json("patient", "list")
    for patient in patients:
        search.text(patient["name"])
        for text in searcher.phone_notations(patient["phone"]):
            search.text(text, f"number of {patient['external_id']}: {text}")
        search.text(patient["external_id"])
    for date in (BORN, DEMO_BORN, ADDED["birth_date"]):
        for text in searcher.date_notations(date):
            search.text(text, f"date of birth {text}")
    for text in ALONE:
        search.text(text)
    for text in (TAKEN_UP, RESOLVED, REASON):
        search.sentence(text)
    search.text("730194", "a PIN")
    search.text(PASSWORD, "a password")
    calls = place.json("call", "list", "--limit", "200")
    # Sound of the calls of today: of those of the past weeks, which are many, the transcripts do.
    today = {call["call_id"] for call in report["calls"]} | set(spoken)
    transcripts = 0
    for call in calls:
        whole = place.json("call", "show", call["id"])
        for turn in whole.get("transcript") or []:
            search.sentence(turn["text"])
            transcripts += 1
        answers(search, whole)
        if call["id"] not in today:
            continue
        target = place.path("private", f"{call['id']}.wav")
        done = place.command("call", "export", call["id"], "--track", "patient", "--output", str(target), okay=False)
        if done.returncode == 0 and target.exists():
            search.sound(ulaw_of(target), f"voice in call {call['id']}")
    for call in report["calls"]:
        answers(search, call)
    check.want(f"there is something to look for: {transcripts} turns, {len(search.known)} texts, {search.blocks} blocks of sound",
               transcripts >= 60 and len(search.known) > 400 and search.blocks > 2000)
    return search, patients


def answers(search, part):
    """Evidence, explanations and answers as they are written in JSON, wherever they are in an object."""
    if isinstance(part, dict):
        if "question" in part and part.get("answered"):
            search.text(json.dumps({key: part[key] for key in ("question", "answered", "value") if key in part}, separators=(",", ":"))[1:-1])
        for key, value in part.items():
            if key in ("evidence", "explanation", "summary") and isinstance(value, str) and len(value) >= 12:
                search.text(value)
            answers(search, value)
    elif isinstance(part, list):
        for item in part:
            answers(search, item)


def look(place, search, when, also=()):
    for name in [*place.searched, *also]:
        found, files, size = search.find_in(place.path(name))
        check.want(f"{when}: {name} says nothing about anybody ({files} files, {size / 1e6:.1f} MB)", not found,
                   {file: labels[:8] for file, labels in list(found.items())[:12]})


def take_out(place, search, zebulon):
    """Everything that leaves the house on purpose, and the backups."""
    place.command("audit", "export", "--out", str(place.path("exports", "audit.jsonl")))
    place.command("audit", "export", "--fhir", "--out", str(place.path("exports", "audit.ndjson")))
    place.command("export", "research", "--out", str(place.path("exports", "research")))
    place.command("backup", "create", "--to", str(place.path("backups")), "--keys-to", str(place.path("backups", "keys.hvb")))
    place.command("patient", "export", zebulon, "--out", str(place.path("private", "copy")))
    found, *_ = search.find_in(place.path("private", "copy"))
    labels = " ".join(label for of_file in found.values() for label in of_file)
    wanted = [word for word in (NAME, PHONE, RECORD, BORN) if word not in labels]
    check.want("the patient's own copy does say it: names, numbers, dates are found where they are", not wanted, (wanted, sorted(found)))


def keep_fhir(place):
    """The trail as the program and the interface tell it to others."""
    if "FHIR" not in os.environ:
        return
    folder = pathlib.Path(os.environ["FHIR"])
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(place.path("exports", "audit.ndjson"), folder / "events.ndjson")
    bundles, page = [], "/fhir/R4/AuditEvent?_count=200"
    auditor = person(place, "otto.auditor", "auditor")
    while page and len(bundles) < 3:
        bundle = expect(auditor.ask("GET", page), 200)
        bundles.append(json.dumps(bundle) + "\n")
        following = [link["url"] for link in bundle.get("link", []) if link["relation"] == "next"]
        page = following[0].removeprefix(place.base) if following else None
    (folder / "bundles.ndjson").write_text("".join(bundles))


def archive_of(place):
    return next(file for file in sorted(place.path("backups").iterdir()) if file.name != "keys.hvb")


def keys_in(master, file):
    """The rows of the file of the keys."""
    rows = {"root_keys": [], "data_keys": []}
    for line in unsealing.unpack_backup(master, file, "keys")["keys"].splitlines():
        row = json.loads(line)
        if row["kept_in"] == "root":
            rows["root_keys"].append({"id": row["id"], "purpose": row["kind"], "wrapped": bytes.fromhex(row["wrapped"])})
        else:
            rows["data_keys"].append({"kind": row["kind"], "id": row["id"], "key_id": row["key_id"],
                                      "wrapped_key": bytes.fromhex(row["wrapped"])})
    return rows


class Yesterday:
    """Yesterday's archive, unpacked with the master key, as a thief of both would."""

    def __init__(self, master, archive, folder):
        self.master, self.folder = master, folder
        self.entries = unsealing.unpack_backup(master, archive)
        self.database = folder / "yesterday.db"
        self.database.write_bytes(self.entries["database"])

    def records(self, keys):
        return unsealing.Records(self.master, self.database, keys)

    def opened(self, records, patient):
        """How many sealed values and blocks of sound there are, how many open with the keys meant for them, and what is in them."""
        total, plain = 0, []
        for place, key, value in records.sealed_of(patient):
            total += 1
            plain.append(unsealing.unseal(key, place.encode(), value))
        blocks = 0
        for call in records.calls_of(patient):
            for index, nonce, sealed in unsealing.blocks(self.entries.get(f"{call}.hvr", b"HVREC\r\n\1\0")):
                blocks += 1
                plain.append(unsealing.open_block(records.call_key(call), call, index, nonce, sealed) if records.call_key(call) else None)
        return total, blocks, [part for part in plain if part is not None]

    def forced(self, records, patient):
        """How many of them open with any key at all that the master key leads to."""
        keys, opened = records.every_key(), 0
        for place, _, value in records.sealed_of(patient):
            opened += any(unsealing.unseal(key, place.encode(), value) for key in keys)
        for call in records.calls_of(patient):
            for index, nonce, sealed in unsealing.blocks(self.entries.get(f"{call}.hvr", b"HVREC\r\n\1\0")):
                opened += any(unsealing.open_block(key, call, index, nonce, sealed) for key in keys)
        return len(keys), opened


def erase_and_prove(place, search, zebulon, other):
    master = bytes.fromhex(place.set["ENCRYPTION_KEY"])
    yesterday = Yesterday(master, archive_of(place), place.path("private"))
    tables = sqlite3.connect(yesterday.database)
    left = {name: tables.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in ("data_keys", "root_keys")}
    check.want("the archive holds no keys", left == {"data_keys": 0, "root_keys": 0}, left)
    found = search.find(yesterday.entries["database"], depth=2)
    check.want("even unpacked, the archive's database says nothing about anybody", not found, sorted(found)[:10])

    before = yesterday.records(keys_in(master, place.path("backups", "keys.hvb")))
    for who, patient in (("the patient", zebulon), ("another", other)):
        total, blocks, plain = yesterday.opened(before, patient)
        check.want(f"before: an independent program opens all of {who} ({total} values, {blocks} blocks of sound)",
                   total > 20 and blocks > 3 and len(plain) == total + blocks, (total, blocks, len(plain)))
        said = search.find(b"\0".join(plain), depth=1)
        check.want(f"before: names, sentences and sound of {who} are in what it opened ({len(said)} found)",
                   any("number of" in label for label in said) and any("voice in call" in label for label in said) and len(said) > 50)

    keep = {file.name for file in place.path("data", "audio").rglob("*") if file.is_file()}
    wrapped = [bytes(row["wrapped_key"]) for row in keys_in(master, place.path("backups", "keys.hvb"))["data_keys"] if row["id"] == zebulon]
    sealed = [value for _, _, value in before.sealed_of(zebulon)]
    place.command("patient", "erase", zebulon, "--reason", "patient-request", "--yes")
    gone = keep - {file.name for file in place.path("data", "audio").rglob("*") if file.is_file()}
    check.want("the files of the recordings are gone", gone == {f"{call}.hvr" for call in before.calls_of(zebulon)}, gone)
    raw = b"".join(file.read_bytes() for name in ("data", "temp") for file in place.path(name).rglob("*") if file.is_file())
    rest = sum(part in raw for part in sealed)
    check.want("of the wrapped key nothing is left in any file", bool(wrapped) and not any(key in raw for key in wrapped))
    check.want(f"of {len(sealed)} sealed values nothing is left in any file", rest == 0, rest)

    after = yesterday.records(keys_in(master, place.path("backups", "keys.hvb")))
    total, blocks, plain = yesterday.opened(after, zebulon)
    check.want(f"after: with yesterday's backup, today's keys and the master key nothing of the patient opens ({total} values, {blocks} blocks)",
               total > 20 and blocks > 3 and not plain, len(plain))
    keys, forced = yesterday.forced(after, zebulon)
    check.want(f"after: not with any of {keys} keys that the master key leads to", keys > 20 and forced == 0, (keys, forced))
    total, blocks, plain = yesterday.opened(after, other)
    check.want(f"after: another patient's record opens as before ({total} values, {blocks} blocks)", len(plain) == total + blocks, len(plain))
    check.want("after: the program itself knows the patient no more", place.command("patient", "show", zebulon, okay=False).returncode != 0)
    check.want("after: the audit trail is whole", place.command("audit", "verify", okay=False).returncode == 0)


def main():
    missed = searcher.self_test()
    check.want("the searcher finds what was planted, in every wrapping and alignment", not missed, missed)
    with tempfile.TemporaryDirectory(prefix="heartvoice-at-rest-") as folder, Process("simulate", "elevenlabs", "--listen", "127.0.0.1:0") as agent:
        place = Place(folder)
        report = demonstrate(place)
        place.set = place.settings(agent.wait_for_line("listening on "))
        place.command("patient", "add", "--external-id", RECORD, "--name", NAME, "--phone", PHONE, "--birth-date", BORN)
        with Process("serve", directory=str(place.path("temp")), **place.set) as server:
            wait_until(lambda: status_of(f"{place.base}/ready") == 200, 30, "the server to be ready", alive=server.child)
            caller = Process("simulate", "call", "--to", f"{place.base}/twilio/voice", "--from", PHONE, "--scenario", "worsening",
                             "--status-callback", f"{place.base}/twilio/status")
            check.want("a patient telephones", caller.child.wait(180) == 0, caller.err)
            zebulon = next(patient["id"] for patient in place.json("patient", "list") if patient["external_id"] == RECORD)
            spoken = wait_until(lambda: [call["id"] for call in place.json("call", "list") if call["patient_id"] == zebulon and call["outcome"] == "completed"],
                                30, "the call to be stored")
            work(place, place.json("patient", "list"))
            metrics = urllib.request.urlopen(f"{place.base}/metrics", timeout=5).read().decode()
            place.path("logs", "metrics.txt").write_text(metrics)
            search, patients = learn(place, report, spoken)
            take_out(place, search, zebulon)
            keep_fhir(place)
            place.log(server.out + "\n" + server.err, "server-so-far")
            # While it runs: the write-ahead log is full, nothing was tidied up.
            wal = place.path("data", "heartvoice.db-wal")
            check.want("there is a write-ahead log to be searched", wal.exists() and wal.stat().st_size > 0)
            look(place, search, "running")
            server.stop()
            place.log(server.out + "\n" + server.err, "server")
        look(place, search, "stopped")
        # All files that hold records or keys are for their owner only.
        everybody = [file.name for name in ("data", "backups") for file in place.path(name).rglob("*") if file.is_file() and file.stat().st_mode & 0o077 and file.stat().st_size]
        check.want("no file with anything in it is open to others", not everybody, everybody)
        ada = next(patient["id"] for patient in patients if patient["external_id"] == "DEMO-001")
        erase_and_prove(place, search, zebulon, ada)
        look(place, search, "after the erasure")
        if check.failed:
            keep = pathlib.Path(tempfile.gettempdir(), "heartvoice-at-rest-failed")
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(place.path("logs"), keep)
            print(f"logs are in {keep}")
    check.finish()


if __name__ == "__main__":
    main()
