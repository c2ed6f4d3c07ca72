-- People, keys, the audit trail, retention, several servers. Times are microseconds since the Unix epoch.

-- The installation's own keys, each wrapped by the master key or a key management service (wrapped_by names it).
-- purpose: 'kek' wraps data keys, 'index' makes keyed hashes, 'audit' signs checkpoints.
-- state: 'announced' (known to every server before it is used), 'active', 'retiring', 'destroyed' (wrapped is NULL).
CREATE TABLE root_keys (
    id            TEXT    NOT NULL PRIMARY KEY,
    purpose       TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    wrapped       BLOB,
    wrapped_by    TEXT    NOT NULL,
    created_at_us INTEGER NOT NULL,
    ended_at_us   INTEGER
);

CREATE UNIQUE INDEX root_keys_active ON root_keys (purpose) WHERE state = 'active';

-- Data keys of patients, and of calls and alerts that belong to no patient, wrapped by a key of root_keys. A backup of the
-- database leaves this table out: it is kept apart, so that a key that was destroyed cannot come back.
CREATE TABLE data_keys (
    kind        TEXT NOT NULL,                        -- patient, call, alert
    id          TEXT NOT NULL,
    key_id      TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE INDEX data_keys_by_key ON data_keys (key_id, kind, id);

INSERT INTO data_keys (kind, id, key_id, wrapped_key)
    SELECT 'patient', id, key_id, wrapped_key FROM patients WHERE wrapped_key IS NOT NULL;
INSERT INTO data_keys (kind, id, key_id, wrapped_key)
    SELECT 'call', id, key_id, wrapped_key FROM calls WHERE wrapped_key IS NOT NULL;
INSERT INTO data_keys (kind, id, key_id, wrapped_key)
    SELECT 'alert', id, key_id, wrapped_key FROM alerts WHERE wrapped_key IS NOT NULL AND key_id IS NOT NULL;
ALTER TABLE patients DROP COLUMN key_id;
ALTER TABLE patients DROP COLUMN wrapped_key;
ALTER TABLE alerts DROP COLUMN key_id;
ALTER TABLE alerts DROP COLUMN wrapped_key;
ALTER TABLE calls DROP COLUMN key_id;
-- From here on: the call's key wrapped by its patient's; NULL where data_keys holds it.
UPDATE calls SET wrapped_key = NULL;
-- Which server process carries the call.
ALTER TABLE calls ADD COLUMN server_id TEXT;

-- Server processes that share the database. One that was not seen for a while is gone, and its work is taken over.
CREATE TABLE servers (
    id            TEXT    NOT NULL PRIMARY KEY,
    started_at_us INTEGER NOT NULL,
    seen_at_us    INTEGER NOT NULL,
    keys_seen     TEXT    NOT NULL,                   -- the newest key-encryption key it has loaded
    keys_used     TEXT    NOT NULL                    -- the one it wraps new data keys with
);

-- Work that one process at a time does.
CREATE TABLE leases (
    name     TEXT    NOT NULL PRIMARY KEY,
    holder   TEXT    NOT NULL,
    until_us INTEGER NOT NULL
);

CREATE TABLE users (
    id                 TEXT    NOT NULL PRIMARY KEY,
    name               TEXT    NOT NULL UNIQUE,       -- what they sign in with, in lower case
    role               TEXT    NOT NULL,
    password           TEXT,                          -- Argon2id; NULL until it is set, or with OpenID Connect only
    totp               BLOB,                          -- sealed; NULL until it is set up
    totp_step          INTEGER NOT NULL DEFAULT 0,    -- the last time step that was used
    oidc_hash          BLOB    UNIQUE,                -- issuer and subject; before the first sign-in the mail address
    oidc_linked_at_us  INTEGER,                       -- NULL before that
    failures           INTEGER NOT NULL DEFAULT 0,
    locked_until_us    INTEGER NOT NULL DEFAULT 0,
    created_at_us      INTEGER NOT NULL,
    password_set_at_us INTEGER,
    signed_in_at_us    INTEGER,
    disabled_at_us     INTEGER
);

-- Failed attempts to sign in under names that nobody has: they are slowed like those that somebody has, or the difference
-- would tell which names exist.
CREATE TABLE unknown_names (
    name_hash       BLOB    NOT NULL PRIMARY KEY,
    failures        INTEGER NOT NULL,
    locked_until_us INTEGER NOT NULL
);

CREATE INDEX unknown_names_by_age ON unknown_names (locked_until_us);

CREATE TABLE recovery_codes (
    user_id    TEXT    NOT NULL REFERENCES users (id),
    code_hash  BLOB    NOT NULL,
    used_at_us INTEGER,
    PRIMARY KEY (user_id, code_hash)
);

-- One-time links with which somebody sets password and second factor.
CREATE TABLE invitations (
    token_hash    BLOB    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES users (id),
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER NOT NULL,
    used_at_us    INTEGER
);

CREATE TABLE sessions (
    id            TEXT    NOT NULL PRIMARY KEY,
    secret_hash   BLOB    NOT NULL UNIQUE,
    user_id       TEXT    NOT NULL REFERENCES users (id),
    stage         TEXT    NOT NULL,                   -- 'password': the second factor is missing; 'full'
    address       TEXT    NOT NULL,
    created_at_us INTEGER NOT NULL,
    seen_at_us    INTEGER NOT NULL,
    expires_at_us INTEGER NOT NULL,
    ended_at_us   INTEGER
);

CREATE INDEX sessions_by_user ON sessions (user_id, id);

ALTER TABLE api_tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT '*';  -- names of rights, separated by spaces
ALTER TABLE api_tokens ADD COLUMN created_by TEXT;
ALTER TABLE api_tokens ADD COLUMN used_at_us INTEGER;

CREATE TABLE care_teams (
    patient_id TEXT    NOT NULL REFERENCES patients (id),
    user_id    TEXT    NOT NULL REFERENCES users (id),
    since_us   INTEGER NOT NULL,
    PRIMARY KEY (patient_id, user_id)
);

CREATE INDEX care_teams_by_user ON care_teams (user_id, patient_id);

-- Somebody opened the record of a patient who is not theirs, with a reason.
CREATE TABLE glass_breaks (
    id             TEXT    NOT NULL PRIMARY KEY,
    user_id        TEXT    NOT NULL REFERENCES users (id),
    patient_id     TEXT    NOT NULL REFERENCES patients (id),
    code           TEXT    NOT NULL,
    reason         BLOB    NOT NULL,                  -- sealed under the patient's key
    from_us        INTEGER NOT NULL,
    until_us       INTEGER NOT NULL,
    reviewed_by    TEXT,
    reviewed_at_us INTEGER
);

CREATE INDEX glass_breaks_by_user ON glass_breaks (user_id, patient_id, until_us);
CREATE INDEX glass_breaks_by_patient ON glass_breaks (patient_id);

-- The audit trail: no names, no numbers, nothing clinical. entry is the text that hash covers, together with the hash before
-- it; the other columns repeat parts of it for searching, and are checked against it.
CREATE TABLE audit_entries (
    seq        INTEGER NOT NULL PRIMARY KEY,
    at_us      INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    patient_id TEXT,
    entry      TEXT    NOT NULL,
    hash       BLOB    NOT NULL
);

CREATE INDEX audit_by_patient ON audit_entries (patient_id, seq);
CREATE INDEX audit_by_actor ON audit_entries (actor, seq);
CREATE INDEX audit_by_action ON audit_entries (action, seq);

CREATE TABLE audit_head (
    name       TEXT    NOT NULL PRIMARY KEY,          -- 'head'
    seq        INTEGER NOT NULL,
    hash       BLOB    NOT NULL,
    checkpoint INTEGER NOT NULL,                      -- the last one that was signed
    mac        BLOB    NOT NULL                       -- keyed hash over the rest
);

CREATE TABLE audit_checkpoints (
    seq       INTEGER NOT NULL PRIMARY KEY,           -- of the last entry it covers
    at_us     INTEGER NOT NULL,
    previous  INTEGER NOT NULL,                       -- the checkpoint before, 0 for none
    hash      BLOB    NOT NULL,
    key_id    TEXT    NOT NULL,
    signature BLOB    NOT NULL
);

CREATE TRIGGER audit_entries_stay BEFORE UPDATE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_entries_remain BEFORE DELETE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

-- Nothing about these patients is deleted.
CREATE TABLE legal_holds (
    patient_id TEXT    NOT NULL PRIMARY KEY REFERENCES patients (id),
    code       TEXT    NOT NULL,
    set_by     TEXT    NOT NULL,
    set_at_us  INTEGER NOT NULL
);

-- Recordings whose keys and rows are gone and whose files are still to be removed.
CREATE TABLE audio_removals (
    call_id  TEXT    NOT NULL PRIMARY KEY,
    since_us INTEGER NOT NULL
);

-- What was destroyed, when and under which rule: counts and key identifiers only.
CREATE TABLE certificates (
    id        TEXT    NOT NULL PRIMARY KEY,
    at_us     INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    content   TEXT    NOT NULL,                       -- JSON
    key_id    TEXT    NOT NULL,
    signature BLOB    NOT NULL
);

-- Answers to requests that a client may repeat.
CREATE TABLE idempotency_keys (
    key_hash      BLOB    NOT NULL PRIMARY KEY,
    request_hash  BLOB    NOT NULL,
    status        INTEGER,                            -- NULL while the first request is being served
    body          BLOB,                               -- sealed
    created_at_us INTEGER NOT NULL
);

CREATE INDEX idempotency_by_age ON idempotency_keys (created_at_us);
CREATE INDEX calls_by_server ON calls (server_id) WHERE outcome = 'in_progress';
