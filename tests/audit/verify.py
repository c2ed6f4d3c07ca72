#!/usr/bin/env python3
"""Verifies an export of the audit trail (`heartvoice audit export`) without any code of the program.

    python3 verify.py EXPORT [--key PUBLICKEY] [--checkpoint FILE]...

Prints what was found. Exit code 1 when something is wrong; the first bad entry is named. Hashes are checked with Python's
own library; signatures need the package `cryptography` (requirements.txt) and are otherwise left out, which is said.
"""

import argparse
import hashlib
import json
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None


class Bad(Exception):
    """The first thing that is wrong: number of the entry, and what."""

    def __init__(self, seq, what):
        super().__init__(f"entry {seq} {what}")
        self.seq = seq


def unhex(text):
    """Lower-case hexadecimal only: there is one way to write a value."""
    if text != text.lower():
        raise ValueError("capitals")
    return bytes.fromhex(text)


def signed(key, text, signature):
    """True when the key's owner signed the text; also when signatures cannot be checked here."""
    try:
        raw, key = unhex(signature), unhex(key)
        if Ed25519PublicKey is None:
            return len(raw) == 64 and len(key) == 32
        Ed25519PublicKey.from_public_bytes(key).verify(raw, text.encode())
        return True
    except (InvalidSignature if Ed25519PublicKey else ValueError, ValueError):
        return False


def checkpoint_text(checkpoint):
    values = [checkpoint[name] for name in ("seq", "at_us", "previous", "hash", "key_id")]
    return "heartvoice audit checkpoint 1\n" + "".join(f"{value}\n" for value in values)


def end_text(end):
    values = [end[name] for name in ("entries", "head", "checkpoint", "at_us", "key_id")]
    return "heartvoice audit export 1\n" + "".join(f"{value}\n" for value in values)


def verify(lines, key=None, elsewhere=()):
    """Number of entries and of checkpoints; raises Bad."""
    elsewhere = sorted(elsewhere, key=lambda checkpoint: checkpoint["seq"])
    before, last, at_us, count, previous = bytes(32), 0, None, 0, 0
    header = end = None

    def confirm(checkpoint):
        if not signed(key, checkpoint_text(checkpoint), checkpoint["signature"]):
            raise Bad(checkpoint["seq"], "has a checkpoint that is not signed by this key")
        if checkpoint["seq"] > last:
            raise Bad(last + 1, "is missing: a checkpoint covers it")
        if checkpoint["seq"] < last:
            raise Bad(checkpoint["seq"], "has a checkpoint that does not stand behind it")
        if unhex(checkpoint["hash"]) != before:
            raise Bad(last, "is not what a checkpoint says")

    for number, line in enumerate(lines, 1):
        try:
            ((kind, value),) = json.loads(line).items()
            if end is not None:
                raise Bad(last + 1, "comes after the end")
            if (kind == "header") != (header is None):
                raise Bad(last + 1, f"cannot be read: line {number} is not where it belongs")
            if kind == "header":
                if value["version"] != 1:
                    raise Bad(1, "cannot be read: another version")
                if key is not None and key != value["public_key"]:
                    raise Bad(1, "is of another installation")
                header, key = value, value["public_key"]
            elif kind == "entry":
                seq, text = value["seq"], value["text"]
                if seq != last + 1:
                    raise Bad(min(seq, last + 1), "is missing or out of order")
                entry = json.loads(text)
                if entry["v"] != 1 or entry["seq"] != seq:
                    raise Bad(seq, "says that it is another entry")
                raw = text.encode()
                own = hashlib.sha256(b"heartvoice audit 1\n" + before + len(raw).to_bytes(8, "big") + raw).digest()
                if own != unhex(value["hash"]):
                    raise Bad(seq, "does not fit its hash")
                if at_us is not None and entry["at_us"] < at_us:
                    raise Bad(seq, "is earlier than the entry before it")
                if entry["action"] == "audit.suspect":
                    raise Bad(seq, "tells that the end of the trail had been changed")
                before, last, at_us = own, seq, entry["at_us"]
                while elsewhere and elsewhere[0]["seq"] <= last:
                    confirm(elsewhere.pop(0))
            elif kind == "checkpoint":
                confirm(value)
                if value["previous"] != previous:
                    raise Bad(max(value["previous"], 1), "had a checkpoint that is missing")
                previous, count = value["seq"], count + 1
            elif kind == "end":
                same = (header["key_id"], header["made_at_us"]) == (value["key_id"], value["at_us"])
                if not same or not signed(key, end_text(value), value["signature"]):
                    raise Bad(last + 1, "or one after it is missing or added: the end is not signed")
                if value["checkpoint"] != previous:
                    raise Bad(max(value["checkpoint"], 1), "had a checkpoint that is missing")
                if value["entries"] != last or unhex(value["head"]) != before:
                    raise Bad(min(value["entries"], last) + 1, "is missing or was added at the end")
                end = value
            else:
                raise Bad(last + 1, f"cannot be read: line {number}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Bad(last + 1, f"cannot be read: line {number} is not of an export") from error
    if end is None:
        raise Bad(last + 1, "is missing: the file was cut off")
    for checkpoint in elsewhere:
        # One that was made after the export may reach further.
        if checkpoint["at_us"] <= end["at_us"]:
            confirm(checkpoint)
    return last, count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export")
    parser.add_argument("--key", type=str.lower)
    parser.add_argument("--checkpoint", action="append", default=[])
    args = parser.parse_args()
    if Ed25519PublicKey is None:
        print("SIGNATURES ARE NOT CHECKED: the package cryptography is missing", file=sys.stderr)
    elsewhere = []
    for path in args.checkpoint:
        with open(path, encoding="utf-8") as file:
            elsewhere += [json.loads(line) for line in file if line.strip()]
    with open(args.export, encoding="utf-8", newline="\n") as file:
        try:
            entries, checkpoints = verify(file, args.key, elsewhere)
        except Bad as bad:
            print(f"not as it was written: {bad}")
            return 1
    print(f"{entries} entries are as they were written; {checkpoints} checkpoints hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
