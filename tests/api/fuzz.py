"""Every route of the programming interface is asked for sense and nonsense, through its own description.

Schemathesis makes requests from /api/v1/openapi.json, valid ones and invalid ones, as a program with a token, as an
administrator, as a clinician and as nobody. No answer may be a failure of the server, and each must be one that the
description promises, with the content it promises. After that come requests that no description can make: too long, too deep,
cut off, slow, not UTF-8, with headers and paths that try tricks.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sdk"))
from harness import Checks, Installation, Process, clean_environment, run, wait_until  # noqa: E402
from people import Client, Person  # noqa: E402

SEED = int(os.environ.get("FUZZ_SEED", "20261123"))
SECONDS = int(os.environ.get("FUZZ_SECONDS", "20"))
NURSE = "+12025550190"
RULES = ",".join(["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
                  "response_schema_conformance", "negative_data_rejection", "unsupported_method"])
# The event stream never ends; it is asked for apart.
ENDLESS = "followLiveCalls"
# What would end the accounts that ask, or take away what the others ask for.
SPARED = ["erasePatient"]
# What is done to nobody but those who are there for it.
DANGEROUS = ["disableUser", "resetUser", "endSession"]
# A precondition that does not hold is a refusal, too.
SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428, 429]
"""

check = Checks()


def prepare(place, server, base):
    """Patients, a call, an alert, a schedule, people of each kind, and who asks as what."""
    for number, name in enumerate(["Ada Example", "Bruno Sample", "Carla Specimen"]):
        place.add_patient(name, f"+1202555011{number}", f"FUZZ-{number}")
    caller = Process("simulate", "call", "--to", f"{place.base}/twilio/voice", "--from", "+12025550110", "--scenario", "red-flag",
                     "--status-callback", f"{place.base}/twilio/status")
    tokens = [place.query("token", "create", "--name", f"fuzz-{number}")["token"] for number in range(16)]
    people = {}
    for name, role in (("olga", "admin"), ("otto", "admin"), ("nora", "clinician"), ("nils", "clinician")):
        link = place.query("user", "add", "--name", name, "--role", role)["set_up_url"]
        people[name] = Person(base, link, name).sign_in()
    program = Client(base, tokens[0])
    listed = lambda name: [item["id"] for item in program.ask("GET", f"/api/v1/{name}?limit=50").json()["items"]]  # noqa: E731
    opened = people["nils"].ask("POST", f"/api/v1/patients/{listed('patients')[2]}/break-glass", {"code": "emergency", "reason": "nobody else is here"})
    if opened.status != 201:
        raise SystemExit(f"FAIL breaking the glass: {opened.status} {opened.text}")
    for name in ("nora", "nils"):
        done = run("user", "assign", name, "--all-patients", directory=place.directory, **place.settings)
        if done.returncode != 0:
            raise SystemExit(f"FAIL user assign: {done.stderr}")
    copy = people["nora"].ask("GET", f"/api/v1/patients/{listed('patients')[0]}/export")
    check.want("a clinician makes a patient's copy", copy.status == 200 and "disclosures" in copy.json(), copy.text[:500])
    # Rarely used on purpose: what is done to them is done to nobody who asks.
    victims = []
    for number in range(4):
        answer = people["olga"].ask("POST", "/api/v1/users", {"name": f"victim-{number}", "role": ("auditor", "clinician")[number % 2]})
        if answer.status != 201:
            raise SystemExit(f"FAIL adding a user: {answer.status} {answer.text}")
        victims.append((answer.json().get("user") or answer.json())["id"])
    check.want("a call is made to be asked about", caller.child.wait(120) in (0, 1), caller.err)
    wait_until(lambda: listed("calls"), 30, "a call to be stored")
    schedule = program.ask("POST", "/api/v1/schedules", {"patient_id": listed("patients")[0], "days": "daily"})
    if schedule.status != 201:
        raise SystemExit(f"FAIL adding a schedule: {schedule.status} {schedule.text}")
    for alert in listed("alerts")[:1]:
        taken = people["nora"].ask("POST", f"/api/v1/alerts/{alert}/acknowledge", {"note": "telephoned"})
        check.want("an alert is taken up", taken.status == 200, taken.text)
    spare = program.ask("POST", "/api/v1/patients", {"external_id": "FUZZ-9", "name": "Dora Spare", "phone": "+12025550119", "birth_date": "1940-01-02"})
    gone = people["olga"].ask("DELETE", f"/api/v1/patients/{spare.json()['id']}?reason=patient-request")
    check.want("a patient is erased, with a certificate", gone.status == 200 and gone.json()["counts"]["patients"] == 1, gone.text)
    # A second session of one person, which may be ended.
    before = dict(people["olga"].headers), dict(people["olga"].cookies)
    people["olga"].sign_in()
    sessions = [item["id"] for item in people["olga"].ask("GET", "/api/v1/sessions").json()["items"] if item["this"]]
    people["olga"].headers, people["olga"].cookies = before
    ids = {"session": sessions, "break-glass": [opened.json()["id"]], "patient": listed("patients"), "call": listed("calls"), "alert": listed("alerts"), "schedule": listed("schedules"), "user": victims}
    missing = [name for name, known in ids.items() if not known]
    check.want("there is something of every kind", not missing, missing)

    def cookie(person):
        return {**person.headers, "Cookie": "; ".join(f"{name}={value}" for name, value in person.cookies.items())}

    callers = {
        "program": [{"Authorization": f"Bearer {token}"} for token in tokens],
        "administrator": [cookie(people["olga"]), cookie(people["otto"])],
        "clinician": [cookie(people["nora"]), cookie(people["nils"])],
        "nobody": [],
    }
    return callers, ids, people, program


def fuzz(name, headers, ids, document, base, folder, seed):
    """One run of Schemathesis. What it found, and how often each operation answered how."""
    plan, statuses, report = folder / f"{name}.plan", folder / f"{name}.statuses", folder / f"{name}.json"
    plan.write_text(json.dumps({"headers": headers, "ids": ids, "seed": seed, "statuses": str(statuses), "spare": SPARED, "dangerous": DANGEROUS}))
    (folder / "schemathesis.toml").write_text(SETTINGS)
    # Whoever is nobody is not told which methods there are.
    rules = RULES if headers else RULES.replace(",unsupported_method", "")
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", base, "--checks", rules, "--mode", "all",
               "--phases", "examples,coverage,fuzzing", "--seed", str(seed), "--max-time", str(SECONDS), "--workers", "1",
               "--continue-on-failure", "--no-shrink", "--generation-database", "none", "--request-timeout", "15", "--no-color",
               "--exclude-operation-id", ENDLESS, "--warnings", "off", "--report", "json", "--report-json-path", str(report),
               "--suppress-health-check", "all", "--generation-with-security-parameters", "false"]
    environment = clean_environment(SCHEMATHESIS_HOOKS="hooks", FUZZ_PLAN=str(plan), PYTHONPATH=str(HERE), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS * 4 + 60)
    (folder / f"{name}.log").write_text(done.stdout + done.stderr)
    counted = json.loads(statuses.read_text()) if statuses.exists() else {}
    return done, counted


def at_root(described):
    """The same description with whole paths: some of them are below another place than the rest."""
    paths = {}
    for path, item in described["paths"].items():
        inner = next((part["servers"] for part in item.values() if isinstance(part, dict) and part.get("servers")), None)
        place = (item.get("servers") or inner or described["servers"])[0]["url"]
        paths[place.rstrip("/") + path] = {name: part for name, part in item.items() if name != "servers"}
    return {**described, "paths": paths, "servers": [{"url": "/"}]}


def by_operation(counted):
    table = {}
    for key, count in counted.items():
        operation, status = key.rsplit(" ", 1)
        table.setdefault(operation, {})[int(status)] = count
    return table


def raw(port, request, seconds=15, pause=None):
    """Sends bytes as they are. The status that comes back, 0 when the connection ends without one, None when nothing comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as line:
        try:
            if pause is None:
                line.sendall(request)
            else:
                for at in range(0, len(request), 64):
                    line.sendall(request[at:at + 64])
                    time.sleep(pause)
            answer = b""
            while b"\r\n" not in answer:
                piece = line.recv(4096)
                if not piece:
                    break
                answer += piece
        except TimeoutError:
            return None
        except OSError:
            return 0
    found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(found.group(1)) if found else 0


def tricks(port, token):
    """Requests that no description makes; each with the statuses that are right."""
    head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n".encode()

    def post(path, body, kind=b"application/json", more=b"", length=None):
        length = len(body) if length is None else length
        return (f"POST {path} HTTP/1.1\r\n".encode() + head + b"Content-Type: " + kind + b"\r\n" + more
                + f"Content-Length: {length}\r\nConnection: close\r\n\r\n".encode() + body)

    def get(path, more=b"", version=b"HTTP/1.1"):
        path = path if isinstance(path, bytes) else path.encode()
        return b"GET " + path + b" " + version + b"\r\n" + head + more + b"Connection: close\r\n\r\n"

    place, bad = "/api/v1/patients", (400, 404, 413, 415, 422)
    patient = b'{"external_id":"T-1","name":"%s","phone":"+12025550123","birth_date":"1948-04-01"}'
    return {
        "a body of 20 MB": (post(place, b"[" + b" " * 20_000_000 + b"]"), (413, 0)),
        "a length that is a lie, and far too long": (post(place, b"{}", length=10**15), (413, 400, 0)),
        "a negative length": (post(place, b"{}", length=-1), (400, 0)),
        "brackets a hundred thousand deep": (post(place, b"[" * 100_000 + b"]" * 100_000), bad),
        "objects ten thousand deep": (post(place, b'{"a":' * 10_000 + b"1" + b"}" * 10_000), bad),
        "a body that is not UTF-8": (post(place, patient % b"\xff\xfe\xc3\x28"), bad),
        "a lone surrogate": (post(place, patient % b"\\ud800"), bad),
        "a zero byte in a name": (post(place, patient % b"Ada\\u0000Example"), bad),
        "a number of a million digits": (post(place, b"1" * 1_000_000), bad),
        "a number that no float holds": (post(place, b'{"external_id":1e400}'), bad),
        "the same field a thousand times": (post(place, b"{" + b'"name":"a",' * 1000 + b'"name":"b"}'), bad),
        "a body of another kind": (post(place, b"<a/>", kind=b"application/xml"), bad),
        "a compressed body": (post(place, b"\x1f\x8b\x08\x00", more=b"Content-Encoding: gzip\r\n"), bad),
        "two lengths": (post(place, b"{}", more=b"Content-Length: 7\r\n"), (400, 0)),
        "a length and chunks": (post(place, b"0\r\n\r\n", more=b"Transfer-Encoding: chunked\r\n"), (400, 401, 0)),
        "a chunk of a size that overflows": (post(place, b"FFFFFFFFFFFFFFFFF\r\n", more=b"Transfer-Encoding: chunked\r\n")
                                             .replace(b"Content-Length: 19\r\n", b""), (400, 413, 0)),
        "a header of 200 kB": (get(place, b"X-Long: " + b"a" * 200_000 + b"\r\n"), (431, 400, 0)),
        "five thousand headers": (get(place, b"".join(b"X-%d: a\r\n" % n for n in range(5000))), (431, 400, 0)),
        "a header with a line feed in it": (get(place, b"X-Bad: a\nX-More: b\r\n"), (200, 400, 0)),
        "a header that is not text": (get(place, b"X-Request-Id: \xff\xfe\r\nIf-None-Match: \xff\r\n"), (200, 400)),
        "an address of 100 kB": (get("/api/v1/" + "a" * 100_000), (404, 414, 431, 400, 0)),
        "a query of 60 kB": (get(place + "?cursor=" + "a" * 60_000), (400, 414, 431, 0)),
        "a cursor that is not one": (get(place + "?cursor=%00%ff"), (400,)),
        "two dots": (get("/api/v1/../../etc/passwd"), (400, 404)),
        "two dots, encoded": (get("/api/v1/%2e%2e/%2e%2e/etc/passwd"), (400, 404)),
        "a slash, encoded": (get("/api/v1/patients%2f..%2fusers"), (400, 404)),
        "two slashes": (get("/api/v1//patients"), (400, 404)),
        "a zero byte in the path": (get("/api/v1/patients/%00"), (400, 404)),
        "a path that is not UTF-8": (get("/api/v1/patients/%ff%fe"), (400, 404)),
        "a backslash": (get("/api/v1/patients\\..\\users"), (400, 404)),
        "another host's whole address": (get("http://evil.example/api/v1/patients"), (200, 400, 404, 421)),
        "an unknown method": (b"BREW /api/v1/patients HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n", (400, 404, 405, 501)),
        "TRACE": (b"TRACE /api/v1/patients HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n", (400, 404, 405, 501)),
        "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", (400, 404, 405, 501, 0)),
        "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, (400, 0)),
        "a body that is cut off": (post(place, b'{"external_id":', length=500), (400, 408, 0)),
    }


def bad_input(port, token, program):
    for name, (request, right) in tricks(port, token).items():
        status = raw(port, request, seconds=40)
        check.want(f"{name}: refused cheaply", status in right, f"{status} instead of {right}")
    began = time.monotonic()
    status = raw(port, b"GET /api/v1/patients HTTP/1.1\r\nHost: a\r\n" + b"X-Slow: " + b"a" * 12_000 + b"\r\n\r\n", seconds=60, pause=0.5)
    check.want("headers that never end: the line is cut", status in (0, 400, 408) and time.monotonic() - began < 60,
               (status, time.monotonic() - began))
    check.want("afterwards everything works as before", program.ask("GET", "/api/v1/patients").status == 200)


def stream(base, headers):
    """The event stream: begins, and is nobody's without a login."""
    nobody = Client(base).ask("GET", "/api/v1/live")
    check.want("nobody follows live calls without a login", nobody.status == 401, nobody.status)
    port = int(base.rsplit(":", 1)[1])
    request = "GET /api/v1/live HTTP/1.1\r\nHost: a\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    check.want("live calls can be followed", raw(port, request.encode(), seconds=10) == 200)


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="heartvoice-fuzz-"))
    twilio = Process("simulate", "twilio", "--listen", "127.0.0.1:0")
    with Installation() as place, twilio:
        place.settings |= {"TWILIO_BASE_URL": twilio.wait_for_line("listening on "), "TWILIO_PHONE_NUMBER": "+15005550006", "NURSE_LINE": NURSE,
                           "PUBLIC_BASE_URL": place.base}
        with place.serve() as server:
            callers, ids, people, program = prepare(place, server, place.base)
            document = folder / "openapi.json"
            described = Client(place.base).ask("GET", "/api/v1/openapi.json").json()
            document.write_text(json.dumps(at_root(described)))
            operations = {operation["operationId"] for item in described["paths"].values() for method, operation in item.items()
                          if isinstance(operation, dict) and "operationId" in operation} - {ENDLESS}
            seen, total = {}, 0
            for number, (name, headers) in enumerate(callers.items()):
                done, counted = fuzz(name, headers, ids, document, place.base, folder, SEED + number)
                table = by_operation(counted)
                requests = sum(counted.values())
                total += requests
                statuses = sorted({status for answers in table.values() for status in answers})
                check.want(f"as {name}: {requests} requests, every answer as described (statuses {statuses})", done.returncode == 0,
                           "\n".join(line[:600] for line in (done.stdout + done.stderr).splitlines()[-200:]))
                broken = {operation: answers for operation, answers in table.items() if any(status >= 500 for status in answers)}
                check.want(f"as {name}: the server never failed", not broken, broken)
                check.want(f"as {name}: every operation was asked", operations <= set(table), operations - set(table))
                check.want(f"as {name}: the server lives", server.child.poll() is None, server.err[-2000:])
                for operation, answers in table.items():
                    seen.setdefault(operation, set()).update(answers)
                if name == "nobody":
                    let_in = {operation for operation, answers in table.items() if operation != "getOpenApi" and any(s < 400 for s in answers)}
                    check.want("nobody gets anything without a login", not let_in, let_in)
            # These were asked with success before: whoever asks now belongs to every care team, and alerts are resolved early.
            # Calls are placed by day only, where the patient is; the access matrix places them where it is noon.
            by_hand = {"breakGlass", "acknowledgeAlert", "erasePatient", "exportPatient", "placeCall"}
            never = sorted(operation for operation in operations - by_hand if not any(status < 300 for status in seen.get(operation, ())))
            check.want(f"of {len(operations)} operations, every one was also asked with success", not never, never)
            for who, person in people.items():
                check.want(f"{who} is still signed in", person.ask("GET", "/api/v1/me").status == 200)
            stream(place.base, callers["program"][1])
            bad_input(place.port, callers["program"][2]["Authorization"].split()[1], program)
            trouble = [line for line in server.lines["err"] + server.lines["out"] if "panicked" in line or " ERROR server::api" in line]
            check.want("the server's log tells of no failure of the interface", not trouble, trouble[:10])
            code = server.stop()
            check.want("the server stops as it should", code == 0, code)
    print(f"{total} requests, seed {SEED}", flush=True)
    if check.failed:
        print(f"logs are in {folder}")
    else:
        shutil.rmtree(folder)
    check.finish()


main()
