#!/usr/bin/env python3
"""Has the program write an audit trail, and verifies its export with the program and with verify.py: they must agree about
the good file, and about the first bad entry of files that were tampered with.

Needs HEARTVOICE, the program.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import verify

PROGRAM = os.environ["HEARTVOICE"]
KEY = "5b1e6f0c9a7d48233e1c0f9a8b7d6e5c4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c"


def run(home, *args, code=0):
    environment = {"ENCRYPTION_KEY": KEY, "PATH": os.environ["PATH"]}
    done = subprocess.run([PROGRAM, *args], cwd=home, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != code:
        sys.exit(f"{args}: exit code {done.returncode}, not {code}: {done.stderr}")
    return done.stdout if code == 0 else done.stderr


def both(home, lines, key):
    """The first bad entry by the program and by verify.py; None for a good file."""
    (Path(home) / "changed.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    args = [PROGRAM, "audit", "verify", "--file", "changed.jsonl", "--key", key, "--format", "json"]
    done = subprocess.run(args, cwd=home, env={}, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["broken"]
    if (found is None) != (done.returncode == 0):
        sys.exit("the exit code says something else than the answer")
    try:
        verify.verify(lines, key)
        own = None
    except verify.Bad as bad:
        own = bad.seq
    return found and found["seq"], own


def main():
    if verify.Ed25519PublicKey is None:
        sys.exit("SIGNATURES ARE NOT CHECKED: the package cryptography is missing")
    with tempfile.TemporaryDirectory() as home:
        add = ["patient", "add", "--name", "Ada Example", "--birth-date", "1948-04-01"]
        for number in range(12):
            added = run(home, *add, "--external-id", f"MRN-{number}", "--phone", f"+1500555{number:04}")
            patient = added.split()[-1]
            run(home, "patient", "show", patient)
            if number % 4 == 3:
                run(home, "audit", "checkpoint", "--to", "checkpoints.jsonl")
        key = run(home, "audit", "key").strip()
        listed = json.loads(run(home, "audit", "list", "--patient", patient, "--format", "json"))
        actions = [entry["action"] for entry in listed]
        if actions != ["audit.list", "patient.read", "patient.add"]:
            sys.exit(f"unexpected entries about a patient: {actions}")
        run(home, "audit", "export", "--out", "audit.jsonl")
        run(home, "audit", "verify", "--checkpoint", "checkpoints.jsonl")
        run(home, "audit", "verify", "--file", "audit.jsonl", "--checkpoint", "checkpoints.jsonl")
        lines = (Path(home) / "audit.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        text = "".join(lines)
        if re.search(r"Ada|MRN|\+1500", text):
            sys.exit("the trail names somebody")
        if both(home, lines, key) != (None, None):
            sys.exit("a good file is refused")
        elsewhere = [json.loads(line) for line in (Path(home) / "checkpoints.jsonl").read_text().splitlines()]
        entries, checkpoints = verify.verify(lines, key, elsewhere)
        if both(home, lines, "07" * 32) != (1, 1):
            sys.exit("a file of another installation is taken")
        dice = random.Random(7)
        tampered = 0
        for index in range(len(lines)):
            for how in ("delete", "twice", "swap", "cut", "edit", "edit", "edit"):
                changed = list(lines)
                if how == "delete":
                    del changed[index]
                elif how == "twice":
                    changed.insert(index, changed[index])
                elif how == "swap" and index + 1 < len(lines):
                    changed[index], changed[index + 1] = changed[index + 1], changed[index]
                elif how == "cut":
                    changed = changed[:index]
                elif how == "edit":
                    line = changed[index]
                    digits = [at for at, c in enumerate(line) if c.isdigit()]
                    at = dice.choice(digits)
                    changed[index] = line[:at] + str((int(line[at]) + 1) % 10) + line[at + 1 :]
                if changed == lines:
                    continue
                program, own = both(home, changed, key)
                if program is None or program != own:
                    sys.exit(f"{how} of line {index + 1}: the program says {program}, verify.py {own}")
                tampered += 1
    print(f"{entries} entries, {checkpoints} checkpoints; {tampered} changed files refused alike by both")


if __name__ == "__main__":
    main()
