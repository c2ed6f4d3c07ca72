-- Alerts, what was sent about them, and the tokens of the programming interface. Times are microseconds since the Unix
-- epoch. "sealed" means AES-256-GCM under the patient's data key, or, where an alert has no patient, under a key of its
-- own that wrapped_key holds encrypted.

CREATE TABLE alerts (
    id                 TEXT    NOT NULL PRIMARY KEY,
    patient_id         TEXT    REFERENCES patients (id),
    call_id            TEXT    REFERENCES calls (id),  -- of the latest occurrence
    kind               TEXT    NOT NULL,
    severity           INTEGER NOT NULL,               -- 0 info, 1 review, 2 urgent, 3 critical
    status             TEXT    NOT NULL,
    topic_hash         BLOB    NOT NULL,
    content            BLOB    NOT NULL,               -- sealed
    key_id             TEXT,
    wrapped_key        BLOB,
    raised_at_us       INTEGER NOT NULL,
    last_at_us         INTEGER NOT NULL,
    occurrences        INTEGER NOT NULL,
    climb              INTEGER NOT NULL,               -- how often the contacts were told from the first one on
    climb_from_us      INTEGER NOT NULL,
    next_step_us       INTEGER,                        -- when to look whom to tell next; NULL: never
    acknowledged_by    TEXT,
    acknowledged_at_us INTEGER,
    acknowledged_note  BLOB,                           -- sealed
    resolved_by        TEXT,
    resolved_at_us     INTEGER,
    resolved_note      BLOB                            -- sealed
);

-- The same matter has one unresolved alert.
CREATE UNIQUE INDEX alerts_unresolved ON alerts (topic_hash) WHERE status <> 'resolved';
CREATE INDEX alerts_by_patient ON alerts (patient_id, id);
CREATE INDEX alerts_by_step ON alerts (next_step_us) WHERE next_step_us IS NOT NULL;

CREATE TABLE alert_occurrences (
    alert_id     TEXT    NOT NULL REFERENCES alerts (id),
    seq          INTEGER NOT NULL,
    call_id      TEXT    REFERENCES calls (id),
    severity     INTEGER NOT NULL,
    finding_hash BLOB,                                 -- call and code; NULL without a call
    content      BLOB    NOT NULL,                     -- sealed
    at_us        INTEGER NOT NULL,
    PRIMARY KEY (alert_id, seq)
);

CREATE INDEX alert_occurrences_by_finding ON alert_occurrences (alert_id, finding_hash);

CREATE TABLE deliveries (
    id            TEXT    NOT NULL PRIMARY KEY,
    alert_id      TEXT    NOT NULL REFERENCES alerts (id),
    climb         INTEGER NOT NULL,
    step          INTEGER NOT NULL,
    contact       INTEGER NOT NULL,                    -- place in the order of the settings, from 0
    channel       TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    attempts      INTEGER NOT NULL,
    unsure        INTEGER NOT NULL,                    -- 1: an attempt may have been carried out unheard
    next_try_us   INTEGER NOT NULL,                    -- while being sent: when it counts as given up
    service_id    TEXT,                                -- the delivering service's own identifier
    error         TEXT,
    made_at_us    INTEGER NOT NULL,
    settled_at_us INTEGER,
    UNIQUE (alert_id, climb, step, contact, channel)
);

CREATE INDEX deliveries_to_send ON deliveries (channel, next_try_us) WHERE state IN ('waiting', 'sending');

CREATE TABLE api_tokens (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL,
    token_hash    BLOB    NOT NULL UNIQUE,
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER,
    revoked_at_us INTEGER
);
