-- Times are integer microseconds since the Unix epoch, except events.at_us: microseconds since the call began.
-- *_hash columns are HMAC-SHA256 under a key of their own. "sealed" means AES-256-GCM under the record's data key, which
-- wrapped_key holds encrypted; a NULL wrapped_key means that the record was erased.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);

CREATE TABLE patients (
    id               TEXT    NOT NULL PRIMARY KEY,
    external_id_hash BLOB    NOT NULL UNIQUE,
    phone_hash       BLOB    NOT NULL,
    details          BLOB    NOT NULL,           -- sealed
    key_id           TEXT    NOT NULL,
    wrapped_key      BLOB,
    created_at_us    INTEGER NOT NULL
);

CREATE INDEX patients_by_phone ON patients (phone_hash, id);

CREATE TABLE calls (
    id             TEXT    NOT NULL PRIMARY KEY,
    patient_id     TEXT    REFERENCES patients (id),
    call_sid_hash  BLOB    NOT NULL UNIQUE,
    call_sid       BLOB    NOT NULL,             -- sealed
    direction      TEXT    NOT NULL,
    outcome        TEXT    NOT NULL,
    end_cause      TEXT,
    started_at_us  INTEGER NOT NULL,
    ended_at_us    INTEGER,
    agents         TEXT    NOT NULL,             -- JSON array of names
    turns          INTEGER NOT NULL,
    interruptions  INTEGER NOT NULL,
    recording      TEXT    NOT NULL,             -- file name inside the audio directory
    key_id         TEXT    NOT NULL,
    wrapped_key    BLOB
);

CREATE INDEX calls_by_start ON calls (started_at_us, id);
CREATE INDEX calls_by_patient ON calls (patient_id, started_at_us, id);
CREATE INDEX calls_by_outcome ON calls (outcome, id);

CREATE TABLE events (
    call_id TEXT    NOT NULL REFERENCES calls (id),
    seq     INTEGER NOT NULL,
    at_us   INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    payload BLOB    NOT NULL,                    -- sealed
    PRIMARY KEY (call_id, seq)
);

CREATE TABLE segments (
    call_id TEXT    NOT NULL REFERENCES calls (id),
    idx     INTEGER NOT NULL,
    task    TEXT    NOT NULL,
    report  BLOB    NOT NULL,                    -- sealed
    PRIMARY KEY (call_id, idx)
);
