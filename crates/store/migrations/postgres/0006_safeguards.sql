-- People, keys, the audit trail, retention, several servers. Times are microseconds since the Unix epoch.

-- The installation's own keys, each wrapped by the master key or a key management service (wrapped_by names it).
-- purpose: 'kek' wraps data keys, 'index' makes keyed hashes, 'audit' signs checkpoints.
-- state: 'announced' (known to every server before it is used), 'active', 'retiring', 'destroyed' (wrapped is NULL).
CREATE TABLE root_keys (
    id            TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    purpose       TEXT    COLLATE "C" NOT NULL,
    state         TEXT    COLLATE "C" NOT NULL,
    wrapped       BYTEA,
    wrapped_by    TEXT    COLLATE "C" NOT NULL,
    created_at_us BIGINT  NOT NULL,
    ended_at_us   BIGINT 
);

CREATE UNIQUE INDEX root_keys_active ON root_keys (purpose) WHERE state = 'active';

-- Data keys of patients, and of calls and alerts that belong to no patient, wrapped by a key of root_keys. A backup of the
-- database leaves this table out: it is kept apart, so that a key that was destroyed cannot come back.
CREATE TABLE data_keys (
    kind        TEXT COLLATE "C" NOT NULL,                        -- patient, call, alert
    id          TEXT COLLATE "C" NOT NULL,
    key_id      TEXT COLLATE "C" NOT NULL,
    wrapped_key BYTEA NOT NULL,
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
ALTER TABLE calls ADD COLUMN server_id TEXT COLLATE "C";

-- Server processes that share the database. One that was not seen for a while is gone, and its work is taken over.
CREATE TABLE servers (
    id            TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    started_at_us BIGINT  NOT NULL,
    seen_at_us    BIGINT  NOT NULL,
    keys_seen     TEXT    COLLATE "C" NOT NULL,       -- the newest key-encryption key it has loaded
    keys_used     TEXT    COLLATE "C" NOT NULL        -- the one it wraps new data keys with
);

-- Work that one process at a time does.
CREATE TABLE leases (
    name     TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    holder   TEXT    COLLATE "C" NOT NULL,
    until_us BIGINT  NOT NULL
);

CREATE TABLE users (
    id                 TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    name               TEXT    COLLATE "C" NOT NULL UNIQUE,       -- what they sign in with, in lower case
    role               TEXT    COLLATE "C" NOT NULL,
    password           TEXT COLLATE "C",                          -- Argon2id; NULL until it is set, or with OpenID Connect only
    totp               BYTEA,                          -- sealed; NULL until it is set up
    totp_step          BIGINT  NOT NULL DEFAULT 0,    -- the last time step that was used
    oidc_hash          BYTEA    UNIQUE,                -- issuer and subject; before the first sign-in the mail address
    oidc_linked_at_us  BIGINT ,                       -- NULL before that
    failures           BIGINT  NOT NULL DEFAULT 0,
    locked_until_us    BIGINT  NOT NULL DEFAULT 0,
    created_at_us      BIGINT  NOT NULL,
    password_set_at_us BIGINT ,
    signed_in_at_us    BIGINT ,
    disabled_at_us     BIGINT 
);

-- Failed attempts to sign in under names that nobody has: they are slowed like those that somebody has, or the difference
-- would tell which names exist.
CREATE TABLE unknown_names (
    name_hash       BYTEA    NOT NULL PRIMARY KEY,
    failures        BIGINT  NOT NULL,
    locked_until_us BIGINT  NOT NULL
);

CREATE INDEX unknown_names_by_age ON unknown_names (locked_until_us);

CREATE TABLE recovery_codes (
    user_id    TEXT    COLLATE "C" NOT NULL REFERENCES users (id),
    code_hash  BYTEA    NOT NULL,
    used_at_us BIGINT ,
    PRIMARY KEY (user_id, code_hash)
);

-- One-time links with which somebody sets password and second factor.
CREATE TABLE invitations (
    token_hash    BYTEA    NOT NULL PRIMARY KEY,
    user_id       TEXT    COLLATE "C" NOT NULL REFERENCES users (id),
    created_at_us BIGINT  NOT NULL,
    expires_at_us BIGINT  NOT NULL,
    used_at_us    BIGINT 
);

CREATE TABLE sessions (
    id            TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    secret_hash   BYTEA    NOT NULL UNIQUE,
    user_id       TEXT    COLLATE "C" NOT NULL REFERENCES users (id),
    stage         TEXT    COLLATE "C" NOT NULL,                   -- 'password': the second factor is missing; 'full'
    address       TEXT    COLLATE "C" NOT NULL,
    created_at_us BIGINT  NOT NULL,
    seen_at_us    BIGINT  NOT NULL,
    expires_at_us BIGINT  NOT NULL,
    ended_at_us   BIGINT 
);

CREATE INDEX sessions_by_user ON sessions (user_id, id);

ALTER TABLE api_tokens ADD COLUMN scopes TEXT COLLATE "C" NOT NULL DEFAULT '*';  -- names of rights, separated by spaces
ALTER TABLE api_tokens ADD COLUMN created_by TEXT COLLATE "C";
ALTER TABLE api_tokens ADD COLUMN used_at_us BIGINT ;

CREATE TABLE care_teams (
    patient_id TEXT    COLLATE "C" NOT NULL REFERENCES patients (id),
    user_id    TEXT    COLLATE "C" NOT NULL REFERENCES users (id),
    since_us   BIGINT  NOT NULL,
    PRIMARY KEY (patient_id, user_id)
);

CREATE INDEX care_teams_by_user ON care_teams (user_id, patient_id);

-- Somebody opened the record of a patient who is not theirs, with a reason.
CREATE TABLE glass_breaks (
    id             TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    user_id        TEXT    COLLATE "C" NOT NULL REFERENCES users (id),
    patient_id     TEXT    COLLATE "C" NOT NULL REFERENCES patients (id),
    code           TEXT    COLLATE "C" NOT NULL,
    reason         BYTEA    NOT NULL,                  -- sealed under the patient's key
    from_us        BIGINT  NOT NULL,
    until_us       BIGINT  NOT NULL,
    reviewed_by    TEXT COLLATE "C",
    reviewed_at_us BIGINT 
);

CREATE INDEX glass_breaks_by_user ON glass_breaks (user_id, patient_id, until_us);
CREATE INDEX glass_breaks_by_patient ON glass_breaks (patient_id);

-- The audit trail: no names, no numbers, nothing clinical. entry is the text that hash covers, together with the hash before
-- it; the other columns repeat parts of it for searching, and are checked against it.
CREATE TABLE audit_entries (
    seq        BIGINT  NOT NULL PRIMARY KEY,
    at_us      BIGINT  NOT NULL,
    actor      TEXT    COLLATE "C" NOT NULL,
    action     TEXT    COLLATE "C" NOT NULL,
    patient_id TEXT COLLATE "C",
    entry      TEXT    COLLATE "C" NOT NULL,
    hash       BYTEA    NOT NULL
);

CREATE INDEX audit_by_patient ON audit_entries (patient_id, seq);
CREATE INDEX audit_by_actor ON audit_entries (actor, seq);
CREATE INDEX audit_by_action ON audit_entries (action, seq);

CREATE TABLE audit_head (
    name       TEXT    COLLATE "C" NOT NULL PRIMARY KEY,          -- 'head'
    seq        BIGINT  NOT NULL,
    hash       BYTEA   NOT NULL,
    checkpoint BIGINT  NOT NULL,                      -- the last one that was signed
    mac        BYTEA   NOT NULL                       -- keyed hash over the rest
);

CREATE TABLE audit_checkpoints (
    seq       BIGINT  NOT NULL PRIMARY KEY,           -- of the last entry it covers
    at_us     BIGINT  NOT NULL,
    previous  BIGINT NOT NULL,                       -- the checkpoint before, 0 for none
    hash      BYTEA    NOT NULL,
    key_id    TEXT    COLLATE "C" NOT NULL,
    signature BYTEA    NOT NULL
);

CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$;
CREATE TRIGGER audit_entries_stay BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_refuses();
CREATE TRIGGER audit_entries_remain BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses();

-- Nothing about these patients is deleted.
CREATE TABLE legal_holds (
    patient_id TEXT    COLLATE "C" NOT NULL PRIMARY KEY REFERENCES patients (id),
    code       TEXT    COLLATE "C" NOT NULL,
    set_by     TEXT    COLLATE "C" NOT NULL,
    set_at_us  BIGINT  NOT NULL
);

-- Recordings whose keys and rows are gone and whose files are still to be removed.
CREATE TABLE audio_removals (
    call_id  TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    since_us BIGINT  NOT NULL
);

-- What was destroyed, when and under which rule: counts and key identifiers only.
CREATE TABLE certificates (
    id        TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    at_us     BIGINT  NOT NULL,
    kind      TEXT    COLLATE "C" NOT NULL,
    content   TEXT    COLLATE "C" NOT NULL,                       -- JSON
    key_id    TEXT    COLLATE "C" NOT NULL,
    signature BYTEA    NOT NULL
);

-- Answers to requests that a client may repeat.
CREATE TABLE idempotency_keys (
    key_hash      BYTEA    NOT NULL PRIMARY KEY,
    request_hash  BYTEA    NOT NULL,
    status        BIGINT ,                            -- NULL while the first request is being served
    body          BYTEA,                               -- sealed
    created_at_us BIGINT  NOT NULL
);

CREATE INDEX idempotency_by_age ON idempotency_keys (created_at_us);
CREATE INDEX calls_by_server ON calls (server_id) WHERE outcome = 'in_progress';
