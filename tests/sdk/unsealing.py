"""Opens what the program sealed, without the program: an independent reading of its formats.

Written from the descriptions of the formats (the key hierarchy, sealed values, recordings, backups) with another
cryptographic library, so that what it cannot open is really closed, and what it opens is really where the descriptions say.
"""

import hashlib
import json
import pathlib
import sqlite3
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SALT = b"heartvoice store v1"


def derive(master, *path):
    """A key for one purpose of the master key."""
    info = b"".join(struct.pack(">Q", len(part)) + part.encode() for part in path)
    return HKDF(SHA256(), 32, SALT, info).derive(master)


def unseal(key, associated, sealed):
    """`version | nonce | ciphertext and tag`, or None when it does not open."""
    if not key or not sealed or len(sealed) < 29 or sealed[0] != 1:
        return None
    try:
        return AESGCM(key).decrypt(sealed[1:13], sealed[13:], associated)
    except InvalidTag:
        return None


def unwrap_root(master, purpose, name, wrapped):
    """A key of the installation."""
    context = f"heartvoice root key|{purpose}|{name}".encode()
    return unseal(derive(master, "store", "wrap key-encryption keys"), b"kek|" + context + b"\x01", wrapped)


def unwrap(parent, kind, name, wrapped):
    """A data key."""
    return unseal(parent, f"key|{kind}|{name}|1".encode(), wrapped)


def blocks(recording):
    """The sealed blocks of a recording: (index, nonce, ciphertext and tag)."""
    if recording[:7] != b"HVREC\r\n":
        raise ValueError("not a recording")
    at = 9 + recording[8]
    while at + 28 <= len(recording):
        length, index = struct.unpack_from("<IQ", recording, at)
        yield index, recording[at + 12:at + 24], recording[at + 28:at + 28 + length]
        at += 28 + length


def open_block(key, call, index, nonce, sealed):
    try:
        return AESGCM(key).decrypt(nonce, sealed, b"recording|" + call.encode() + b"|" + struct.pack("<Q", index) + b"\x01")
    except InvalidTag:
        return None


class Records:
    """A database file, and the keys that open it."""

    def __init__(self, master, database, keys=None):
        """`keys`: rows of `root_keys` and `data_keys` as {table: [row, ...]}; otherwise those in the database."""
        self.master = master
        self.db = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
        self.db.row_factory = sqlite3.Row
        rows = keys or {table: [dict(row) for row in self.db.execute(f"SELECT * FROM {table}")] for table in ("root_keys", "data_keys")}
        self.roots = {row["id"]: unwrap_root(master, row["purpose"], row["id"], row["wrapped"]) for row in rows["root_keys"] if row["wrapped"]}
        self.data = {(row["kind"], row["id"]): unwrap(self.roots.get(row["key_id"]), row["kind"], row["id"], row["wrapped_key"])
                     for row in rows["data_keys"] if row["wrapped_key"]}

    def every_key(self):
        """Everything of 32 bytes that the master key leads to."""
        index = [key for key in self.roots.values() if key]
        derived = [derive(key, "store", purpose) for key in [self.master, *index]
                   for purpose in ("wrap key-encryption keys", "key encryption", "office", "key id")]
        calls = [self.call_key(row["id"]) for row in self.db.execute("SELECT id FROM calls")]
        return list({key for key in [self.master, *index, *derived, *self.data.values(), *calls] if key})

    def call_key(self, call):
        own = self.data.get(("call", call))
        if own:
            return own
        row = self.db.execute("SELECT patient_id, wrapped_key FROM calls WHERE id = ?", (call,)).fetchone()
        return row and unwrap(self.data.get(("patient", row["patient_id"])), "call", call, row["wrapped_key"])

    def sealed_of(self, patient):
        """Every sealed value of a patient: (place, key or None, value)."""
        own = self.data.get(("patient", patient))

        def values(text, table, name, columns, key):
            for row in self.db.execute(text, (patient,)):
                for column in columns:
                    if row[column] is not None:
                        yield f"{table}|{name(row)}|{column}|1", key(row), row[column]

        of_calls = "SELECT t.* FROM {} t JOIN calls c ON c.id = t.call_id WHERE c.patient_id = ?"
        yield from values("SELECT * FROM patients WHERE id = ?", "patients", lambda row: row["id"], ["details"], lambda _: own)
        yield from values("SELECT * FROM profiles WHERE patient_id = ?", "profiles", lambda row: row["patient_id"], ["profile"], lambda _: own)
        yield from values("SELECT * FROM schedules WHERE patient_id = ?", "schedules", lambda row: row["id"], ["definition"], lambda _: own)
        yield from values("SELECT * FROM alerts WHERE patient_id = ?", "alerts", lambda row: row["id"],
                          ["content", "acknowledged_note", "resolved_note"], lambda _: own)
        yield from values("SELECT * FROM calls WHERE patient_id = ?", "calls", lambda row: row["id"], ["call_sid"],
                          lambda row: self.call_key(row["id"]))
        for table, number, columns in (("events", "seq", ["payload"]), ("segments", "idx", ["report"])):
            yield from values(of_calls.format(table), table, lambda row, number=number: f"{row['call_id']}/{row[number]}", columns,
                              lambda row: self.call_key(row["call_id"]))
        yield from values(of_calls.format("visits"), "visits", lambda row: row["call_id"], ["record", "facts", "assessment"],
                          lambda row: self.call_key(row["call_id"]))

    def calls_of(self, patient):
        return [row["id"] for row in self.db.execute("SELECT id FROM calls WHERE patient_id = ?", (patient,))]


def unpack_backup(master, archive, kind="records"):
    """What a backup holds, by name."""
    data = pathlib.Path(archive).read_bytes()
    if data[:9] != b"HVBACKUP\x01":
        raise ValueError("not a backup")
    end = 13 + struct.unpack_from("<I", data, 9)[0]
    header = json.loads(data[13:end])
    if header["kind"] != kind:
        raise ValueError(f"a backup of {header['kind']}")
    context = f"kek|heartvoice backup|{kind}|{header['id']}".encode() + b"\x01"
    key = unseal(derive(master, "store", "wrap key-encryption keys"), context, bytes.fromhex(header["wrapped"]))
    if key is None:
        raise ValueError("another master key")
    stream, number, last, at = bytearray(), 0, 0, end
    while not last:
        last, length = struct.unpack_from("<BI", data, at)
        counted = struct.pack("<Q", number)
        associated = b"backup|" + hashlib.sha256(data[:end]).digest() + counted + bytes([last])
        stream += AESGCM(key).decrypt(counted + bytes(4), data[at + 5:at + 5 + length], associated)
        at, number = at + 5 + length, number + 1
    return dict(_entries(bytes(stream)))


def _entries(stream):
    at = 0
    while at < len(stream):
        length = stream[at]
        name, at, content = stream[at + 1:at + 1 + length].decode(), at + 1 + length, []
        while True:
            size = struct.unpack_from("<I", stream, at)[0]
            at += 4
            if size == 0:
                break
            content.append(stream[at:at + size])
            at += size
        content = b"".join(content)
        if hashlib.sha256(content).digest() != stream[at:at + 32]:
            raise ValueError(f"{name} is damaged")
        at += 32
        yield name, content
