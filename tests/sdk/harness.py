"""What all checks here share: starting the program, waiting for it, and counting what held."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("HEARTVOICE", str(ROOT / "target/release/heartvoice"))

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "0123456789abcdef0123456789abcdef"
KEY = "5d0e7cb1a94f2e83b6c1d70f4a9e6283f1b5c7d92e4a60813f7bd5c2e9a08146"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(**settings):
    """An environment in which only these settings count."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**keep, **settings}


class Process:
    """A running `heartvoice`; what it prints is kept."""

    def __init__(self, *args, directory=None, **settings):
        self.lines = {"out": [], "err": []}
        self.child = subprocess.Popen(
            [PROGRAM, *args],
            cwd=directory,
            env=clean_environment(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.readers = []
        for name, stream in (("out", self.child.stdout), ("err", self.child.stderr)):
            reader = threading.Thread(target=self._read, args=(name, stream), daemon=True)
            reader.start()
            self.readers.append(reader)

    def _read(self, name, stream):
        for line in stream:
            self.lines[name].append(line.rstrip("\n"))

    @property
    def out(self):
        return "\n".join(self.lines["out"])

    @property
    def err(self):
        return "\n".join(self.lines["err"])

    def wait_for_line(self, start, seconds=20):
        """The first line that begins so, without that beginning."""
        return wait_until(
            lambda: next((line[len(start):] for kind in ("out", "err") for line in list(self.lines[kind]) if line.startswith(start)), None),
            seconds,
            f"{self.child.args[1:]} to print {start!r}; it said {self.err!r}",
            alive=self.child,
        )

    def stop(self, how=signal.SIGTERM, seconds=30):
        if self.child.poll() is None:
            self.child.send_signal(how)
        code = self.child.wait(seconds)
        for reader in self.readers:
            reader.join(5)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def wait_until(probe, seconds, what, alive=None):
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if alive is not None and alive.poll() is not None:
            raise SystemExit(f"FAIL ended with {alive.returncode} while waiting for {what}")
        if time.monotonic() > deadline:
            raise SystemExit(f"FAIL timed out after {seconds} s waiting for {what}")
        time.sleep(0.05)


def run(*args, directory=None, seconds=60, **settings):
    """Runs a command to its end."""
    return subprocess.run(
        [PROGRAM, *args],
        cwd=directory,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def run_json(*args, **kwargs):
    done = run(*args, "--format", "json", **kwargs)
    if done.returncode != 0:
        raise SystemExit(f"FAIL {args}: exit code {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def status_of(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def get_json(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


class Installation:
    """A server's folder, its settings and a simulated agent."""

    def __init__(self, agent_args=()):
        self.folder = tempfile.TemporaryDirectory(prefix="heartvoice-check-")
        self.directory = self.folder.name
        self.agent = Process("simulate", "elevenlabs", "--listen", "127.0.0.1:0", *agent_args)
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.settings = {
            "ENCRYPTION_KEY": KEY,
            "BIND_ADDR": "127.0.0.1",
            "PORT": str(self.port),
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "ELEVENLABS_API_KEY": "sk_check",
            "ELEVENLABS_AGENT_ID": "agent_check",
            "ELEVENLABS_BASE_URL": self.agent.wait_for_line("listening on "),
        }

    def add_patient(self, name="Zebulon Quixworthy", phone="+12025550143", external_id="MRN-778899"):
        done = run(
            "patient", "add", "--external-id", external_id, "--name", name, "--phone", phone,
            "--birth-date", "1948-04-01", directory=self.directory, **self.settings,
        )
        if done.returncode != 0:
            raise SystemExit(f"FAIL patient add: {done.stderr}")

    def serve(self, **more):
        server = Process("serve", directory=self.directory, **{**self.settings, **more})
        wait_until(lambda: status_of(f"{self.base}/ready") == 200, 30, "the server to be ready", alive=server.child)
        return server

    def query(self, *args):
        return run_json(*args, directory=self.directory, **self.settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.agent.__exit__()
        self.folder.cleanup()


class Checks:
    """Names what held and what did not."""

    def __init__(self):
        self.failed = 0

    def want(self, name, held, detail=""):
        print(("ok   " if held else "FAIL ") + name + (f": {detail}" if detail and not held else ""), flush=True)
        self.failed += not held
        return held

    def finish(self):
        sys.exit(1 if self.failed else 0)
