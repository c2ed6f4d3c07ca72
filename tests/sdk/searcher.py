"""Finds what must not be there: texts and sounds in the raw bytes of files, whatever they were wrapped in.

Every file is looked at as it is, and as what is in it: members of gzip and zlib streams, runs of base64 (both alphabets,
all alignments) and of hexadecimal digits, three levels deep. Texts are searched in UTF-8 and UTF-16, in any case; sounds
by every block of 20 bytes of them, so that any 39 consecutive bytes of a recording are noticed.
"""

import base64
import binascii
import codecs
import pathlib
import re
import zlib

import numpy as np

BLOCK = 20
SMALLEST_RUN = 24
LARGEST = 256 * 1024 * 1024
_LOWER = np.array([c + 32 if 65 <= c <= 90 else c for c in range(256)], dtype=np.uint8)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_\-]{%d,}" % SMALLEST_RUN)
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){%d,}" % (SMALLEST_RUN // 2))
_BITS = 24


class _Index:
    """Needles of at least eight bytes, by their first eight."""

    def __init__(self):
        self.by_start = {}
        self.table = np.zeros(1 << _BITS, dtype=bool)

    @staticmethod
    def _slots(words):
        return (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _BITS)

    def add(self, needle, label):
        self.by_start.setdefault(needle[:8], []).append((needle, label))
        self.table[self._slots(np.frombuffer(needle[:8], dtype="<u8"))] = True

    def find(self, data):
        if len(data) < 8 or not self.by_start:
            return
        for shift in range(8):
            count = (len(data) - shift) // 8
            words = np.frombuffer(data, dtype="<u8", count=count, offset=shift)
            for at in np.flatnonzero(self.table[self._slots(words)]):
                place = int(at) * 8 + shift
                for needle, label in self.by_start.get(data[place:place + 8], ()):
                    if data.startswith(needle, place):
                        yield label


class Searcher:
    def __init__(self):
        self.texts, self.sounds, self.short = _Index(), _Index(), {}
        self.known = set()
        self.blocks = 0

    def text(self, text, label=None):
        """A text of at least five characters."""
        text = text.strip()
        if len(text) < 5 or text in self.known:
            return
        self.known.add(text)
        label = label or text
        for encoding in ("utf-8", "utf-16-le"):
            needle = _lower(text.encode(encoding))
            if len(needle) >= 8:
                self.texts.add(needle, f"{label!r} ({encoding})")
            else:
                self.short[needle] = f"{label!r} ({encoding})"

    def sentence(self, text, words=4):
        """A sentence, and every run of words of it that is long enough to be told from anything else."""
        said = text.split()
        self.text(text)
        for at in range(len(said) - words + 1):
            run = " ".join(said[at:at + words])
            if len(run) >= 14:
                self.text(run)

    def sound(self, audio, label):
        """Bytes of audio. Silence and steady tones are everywhere, so blocks of few different bytes are left out."""
        for at in range(0, len(audio) - BLOCK + 1, BLOCK):
            block = audio[at:at + BLOCK]
            if len(set(block)) >= 10:
                self.sounds.add(block, label)
                self.blocks += 1

    def find(self, data, depth=3):
        """Labels of all that is in these bytes."""
        found = set()
        for way, view in _views(data, depth):
            found |= {way + label for label in self._find_plain(view)}
        return found

    def _find_plain(self, data):
        lower = _lower(data)
        yield from self.texts.find(lower)
        for needle, label in self.short.items():
            if needle in lower:
                yield label
        yield from self.sounds.find(data)

    def find_in(self, folder):
        """What is in the files of a folder, and how many files and bytes were looked at."""
        found, files, total = {}, 0, 0
        for file in sorted(pathlib.Path(folder).rglob("*")):
            # The names of files are as readable as what is in them.
            named = self.find(str(file.relative_to(folder)).encode(), depth=1)
            if named:
                found[f"name of {file}"] = sorted(named)
            if not file.is_file():
                continue
            try:
                data = file.read_bytes()
            except FileNotFoundError:
                continue
            files, total = files + 1, total + len(data)
            inside = self.find(data)
            if inside:
                found[str(file)] = sorted(inside)
        return found, files, total


def _lower(data):
    return _LOWER[np.frombuffer(data, dtype=np.uint8)].tobytes()


def _views(data, depth):
    """The bytes, and what they unwrap to; each with how."""
    yield "", data
    if depth == 0:
        return
    inner = []
    for member in _inflated(data):
        inner.append(("compressed ", member))
    # Runs are joined with a gap, so that a thousand small ones cost one search.
    for offset in range(4):
        joined = b"\0\0".join(_from_base64(run[offset:]) for run in _BASE64.findall(data))
        if joined:
            inner.append(("base64 ", joined))
    for offset in range(2):
        joined = b"\0\0".join(_from_hex(run[offset:]) for run in _HEX.findall(data))
        if joined:
            inner.append(("hex ", joined))
    for way, view in inner:
        for further, deep in _views(view, depth - 1):
            yield way + further, deep


def _inflated(data):
    """What gzip members and zlib streams hold, wherever they begin."""
    for mark, window in ((b"\x1f\x8b\x08", 31), (b"\x78\x01", 15), (b"\x78\x9c", 15), (b"\x78\xda", 15)):
        at = data.find(mark)
        while at >= 0:
            stream = zlib.decompressobj(window)
            try:
                # Most marks are chance: a first piece tells, without copying the rest.
                plain = stream.decompress(data[at:at + 4096], LARGEST)
                if not stream.eof and len(data) > at + 4096:
                    plain += stream.decompress(data[at + 4096:], LARGEST)
                if len(plain) >= 8:
                    yield plain
            except zlib.error:
                pass
            at = data.find(mark, at + 1)


def _from_base64(run):
    run = run[:len(run) // 4 * 4].replace(b"-", b"+").replace(b"_", b"/")
    return base64.b64decode(run) if run else b""


def _from_hex(run):
    return binascii.unhexlify(run[:len(run) // 2 * 2])


def phone_notations(number):
    """How a North American number in E.164 is written."""
    area, exchange, line = number[-10:-7], number[-7:-4], number[-4:]
    return [number, number[1:], number[2:], f"{area}-{exchange}-{line}", f"({area}) {exchange}-{line}", f"{area} {exchange} {line}",
            f"{area}.{exchange}.{line}", number.replace("+", "%2B"), f"{exchange}-{line}"]


def date_notations(date):
    """How a day in ISO 8601 is written."""
    year, month, day = date.split("-")
    name = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
            "December"][int(month) - 1]
    return [date, f"{year}{month}{day}", f"{month}/{day}/{year}", f"{int(month)}/{int(day)}/{year}", f"{day}.{month}.{year}",
            f"{int(day)}.{int(month)}.{year}", f"{name} {int(day)}, {year}", f"{int(day)} {name} {year}", f"{year}/{month}/{day}"]


def self_test():
    """Plants things and finds them: names of what was missed, and of what was found where there is nothing."""
    import gzip
    import random

    noise = random.Random(7)
    sound = bytes(noise.randrange(256) for _ in range(4000))
    search = Searcher()
    search.text("Zebulon Quixworthy")
    search.sentence("I slept on three pillows again last night")
    search.sound(sound, "sound")
    secret = "zebulon QUIXWORTHY"
    wrong = []
    random_bytes = noise.randbytes(1 << 20)
    if search.find(random_bytes):
        wrong.append("something in noise")
    for number in range(24):
        pad = noise.randbytes(number)
        for name, planted in {
            "UTF-8": secret.encode(),
            "UTF-16": codecs.encode(secret, "utf-16-le"),
            "part of a sentence": b"... on three pillows again ...",
            "base64": base64.b64encode(pad + secret.encode() + b"...."),
            "base64 for addresses": base64.urlsafe_b64encode(pad + secret.encode() + b"...."),
            "hex": binascii.hexlify(secret.encode()),
            "HEX": binascii.hexlify(secret.encode()).upper(),
            "base64 of UTF-16": base64.b64encode(pad + codecs.encode(secret, "utf-16-le") + b"...."),
            "gzip": gzip.compress(pad + secret.encode()),
            "zlib": zlib.compress(pad + secret.encode()),
            "base64 of gzip": base64.b64encode(gzip.compress(secret.encode())),
            "forty bytes of sound": sound[1000 + number:1040 + number],
            "forty bytes of sound as base64": base64.b64encode(sound[1000 + number:1040 + number]),
            "sound as hex": binascii.hexlify(sound[333 + number:373 + number]),
        }.items():
            if not search.find(noise.randbytes(1000 + number) + b"|" + planted + b"|" + noise.randbytes(100)):
                wrong.append(f"{name}, alignment {number}")
    return wrong


if __name__ == "__main__":
    missed = self_test()
    print("missed:" if missed else "all found", missed or "")
    raise SystemExit(1 if missed else 0)
