"""Two servers on one PostgreSQL place the calls that are due, one of them is killed, and the other goes on: nobody is
called twice, and nobody is left out.

    two_servers.py --heartvoice PATH --due-calls PATH [--calls 2000]

The second program is the example `due_calls` of the crate `store`. The database is a new one on HEARTVOICE_TEST_POSTGRES.
Twilio is simulated and every line is engaged. A forwarder stands where a load balancer would: Twilio's requests reach
whichever server lives.
"""

import argparse
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import base64

ACCOUNT = "AC" + "0" * 32
PER_SECOND = 60
# A request that had not left when its server died is looked for at Twilio for ten minutes before it counts as made.
REQUESTS_AT_ONCE = 32
FOUND_WITHIN_S = 100


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def forward(port, behind):
    """Takes connections and carries them to one of the ports behind that answers, in turn."""
    listener = socket.create_server(("127.0.0.1", port), backlog=512)

    def carry(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def serve(client, first):
        for offset in range(len(behind)):
            try:
                server = socket.create_connection(("127.0.0.1", behind[(first + offset) % len(behind)]), timeout=5)
            except OSError:
                continue
            server.settimeout(None)
            threading.Thread(target=carry, args=(client, server), daemon=True).start()
            carry(server, client)
            server.close()
            break
        client.close()

    def accept():
        number = 0
        while True:
            client, _ = listener.accept()
            number += 1
            threading.Thread(target=serve, args=(client, number), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--heartvoice", required=True)
    parser.add_argument("--due-calls", required=True)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--patience", type=int, default=240, help="longest time in seconds for half of the calls")
    options = parser.parse_args()
    began = time.monotonic()
    children = []
    try:
        with tempfile.TemporaryDirectory(prefix="heartvoice-two-") as folder:
            run(options, folder, children, began)
    finally:
        for child in children:
            child.kill()
            child.wait()


def run(options, folder, children, began):
    server = os.environ["HEARTVOICE_TEST_POSTGRES"]
    psql = os.path.join(os.environ.get("PGBIN", ""), "psql")
    name = f"two_{secrets.token_hex(6)}"
    subprocess.run([psql, f"{server}/postgres", "-qc", f"CREATE DATABASE {name}"], check=True)
    database, audio = f"{server}/{name}", f"{folder}/audio"
    key, token = secrets.token_hex(32), secrets.token_hex(16)

    def ask(statement):
        done = subprocess.run([psql, database, "-Atc", statement], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def due_calls(*words):
        environment = {**os.environ, "ENCRYPTION_KEY": key}
        command = [options.due_calls, words[0], database, audio, *words[1:]]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    due_calls("fill", str(options.calls))
    print(f"{options.calls} calls are due ({time.monotonic() - began:.0f} s)", flush=True)
    ports = {place: free_port() for place in ("twilio", "public", "one", "other")}
    forward(ports["public"], [ports["one"], ports["other"]])

    def start(log, *command, **environment):
        out = open(f"{folder}/{log}.log", "wb")
        child = subprocess.Popen([options.heartvoice, *command], cwd=folder, stdout=out, stderr=out,
                                 env={**os.environ, **environment})
        children.append(child)
        return child

    start("twilio", "simulate", "twilio", "--listen", f"127.0.0.1:{ports['twilio']}", "--callee", "busy",
          "--account-sid", ACCOUNT, "--auth-token", token)

    def serve(which):
        return start(which, "serve", DATABASE_URL=database, AUDIO_STORE=audio, ENCRYPTION_KEY=key,
                     BIND_ADDR="127.0.0.1", PORT=str(ports[which]), PUBLIC_BASE_URL=f"http://127.0.0.1:{ports['public']}",
                     TWILIO_ACCOUNT_SID=ACCOUNT, TWILIO_AUTH_TOKEN=token, TWILIO_PHONE_NUMBER="+15005550006",
                     TWILIO_BASE_URL=f"http://127.0.0.1:{ports['twilio']}", OUTGOING_CALLS="200",
                     OUTGOING_PER_SECOND=str(PER_SECOND), HEARTVOICE_LOG="info", HEARTVOICE_LOG_FORMAT="json")

    victim, other = serve("one"), serve("other")

    def wait(condition, seconds, what):
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise SystemExit(f"waited {seconds} s in vain: {what}\n{open(f'{folder}/other.log').read()[-2000:]}")
            if other.poll() is not None:
                raise SystemExit(f"the server that was to go on has ended: {open(f'{folder}/other.log').read()[-2000:]}")
            time.sleep(0.2)

    attempts = lambda: int(ask("SELECT COUNT(*) FROM call_attempts"))
    wait(lambda: attempts() >= options.calls * 2 // 5, options.patience, "two fifths of the calls")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    killed_at = attempts()
    print(f"one server killed after {killed_at} calls ({time.monotonic() - began:.0f} s)", flush=True)
    wait(lambda: attempts() >= options.calls, options.patience, "the other calls")
    print(f"every call was claimed ({time.monotonic() - began:.0f} s)", flush=True)

    def called():
        """Calls by number, as Twilio tells."""
        twilio = http.client.HTTPConnection("127.0.0.1", ports["twilio"])
        access = base64.b64encode(f"{ACCOUNT}:{token}".encode()).decode()
        found = {}
        for number in range(options.calls):
            phone = f"+1202{2_000_000 + number}"
            query = urllib.parse.urlencode({"To": phone, "PageSize": 50})
            twilio.request("GET", f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json?{query}",
                           headers={"Authorization": f"Basic {access}"})
            answer = twilio.getresponse()
            found[phone] = [call["sid"] for call in json.loads(answer.read())["calls"]]
        return found

    # What Twilio had taken when the server died is found there by the other one.
    until = time.monotonic() + FOUND_WITHIN_S
    at_twilio, never_sent = called(), 0
    while True:
        rows = json.loads(due_calls("list"))
        lost = [row for row in rows if row["attempts"] and row["attempts"][0]["call_sid"] is None]
        never_sent = sum(not at_twilio[row["phone"]] for row in lost)
        if len(lost) == never_sent:
            break
        if time.monotonic() > until:
            raise SystemExit(f"{len(lost) - never_sent} calls at Twilio were not found by the server that went on")
        time.sleep(2)
    problems = []
    for row in rows:
        sids = at_twilio[row["phone"]]
        if row["planned"] != 1 or len(row["attempts"]) != 1:
            problems.append(f"planned {row['planned']} times, {len(row['attempts'])} attempts")
        elif len(sids) > 1:
            problems.append(f"called {len(sids)} times")
        elif sids and row["attempts"][0]["call_sid"] != sids[0]:
            problems.append("another call is on record")
        elif not sids and (row["attempts"][0]["state"] != "claimed" or row["attempts"][0]["call_sid"] is not None):
            problems.append(f"not called, though its attempt is {row['attempts'][0]['state']}")
    if len(rows) != options.calls:
        problems.append(f"{len(rows)} patients")
    if never_sent > REQUESTS_AT_ONCE:
        problems.append(f"{never_sent} calls were claimed and never asked for")
    gap_us = int(ask("SELECT MIN(gap) FROM (SELECT claimed_at_us - lag(claimed_at_us) OVER (ORDER BY claimed_at_us) "
                     "AS gap FROM call_attempts) AS gaps"))
    if gap_us < 1_000_000 // PER_SECOND:
        problems.append(f"two calls {gap_us} us apart")
    shares = {which: len(re.findall('"calling"', open(f"{folder}/{which}.log").read())) for which in ("one", "other")}
    if min(shares.values()) < options.calls // 20:
        problems.append(f"the servers did not share the work: {shares}")
    wait(lambda: int(ask("SELECT COUNT(*) FROM servers")) == 1, 60, "the killed server to be forgotten")
    other.send_signal(signal.SIGTERM)
    if other.wait(60) != 0:
        problems.append("the server that went on did not stop cleanly")
    if problems:
        raise SystemExit("; ".join(problems[:10]))
    print(f"{options.calls} calls, {sum(len(sids) == 1 for sids in at_twilio.values())} placed once, none twice; "
          f"{never_sent} claimed by the killed server and not yet asked for; shares {shares}; "
          f"smallest gap {gap_us / 1000:.1f} ms; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
