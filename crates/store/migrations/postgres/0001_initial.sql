-- Times are integer microseconds since the Unix epoch, except events.at_us: microseconds since the call began.
-- *_hash columns are HMAC-SHA256 under a key of their own. "sealed" means AES-256-GCM under the record's data key, which
-- wrapped_key holds encrypted; a NULL wrapped_key means that the record was erased.

CREATE TABLE meta (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE patients (
    id               TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    external_id_hash BYTEA    NOT NULL UNIQUE,
    phone_hash       BYTEA    NOT NULL,
    details          BYTEA    NOT NULL,           -- sealed
    key_id           TEXT    COLLATE "C" NOT NULL,
    wrapped_key      BYTEA,
    created_at_us    BIGINT  NOT NULL
);

CREATE INDEX patients_by_phone ON patients (phone_hash, id);

CREATE TABLE calls (
    id             TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    patient_id     TEXT    COLLATE "C" REFERENCES patients (id),
    call_sid_hash  BYTEA    NOT NULL UNIQUE,
    call_sid       BYTEA    NOT NULL,             -- sealed
    direction      TEXT    COLLATE "C" NOT NULL,
    outcome        TEXT    COLLATE "C" NOT NULL,
    end_cause      TEXT COLLATE "C",
    started_at_us  BIGINT  NOT NULL,
    ended_at_us    BIGINT ,
    agents         TEXT    COLLATE "C" NOT NULL,             -- JSON array of names
    turns          BIGINT  NOT NULL,
    interruptions  BIGINT  NOT NULL,
    recording      TEXT    COLLATE "C" NOT NULL,             -- file name inside the audio directory
    key_id         TEXT    COLLATE "C" NOT NULL,
    wrapped_key    BYTEA
);

CREATE INDEX calls_by_start ON calls (started_at_us, id);
CREATE INDEX calls_by_patient ON calls (patient_id, started_at_us, id);
CREATE INDEX calls_by_outcome ON calls (outcome, id);

CREATE TABLE events (
    call_id TEXT    COLLATE "C" NOT NULL REFERENCES calls (id),
    seq     BIGINT  NOT NULL,
    at_us   BIGINT  NOT NULL,
    kind    TEXT    COLLATE "C" NOT NULL,
    payload BYTEA    NOT NULL,                    -- sealed
    PRIMARY KEY (call_id, seq)
);

CREATE TABLE segments (
    call_id TEXT    COLLATE "C" NOT NULL REFERENCES calls (id),
    idx     BIGINT  NOT NULL,
    task    TEXT    COLLATE "C" NOT NULL,
    report  BYTEA    NOT NULL,                    -- sealed
    PRIMARY KEY (call_id, idx)
);
