-- Alerts, what was sent about them, and the tokens of the programming interface. Times are microseconds since the Unix
-- epoch. "sealed" means AES-256-GCM under the patient's data key, or, where an alert has no patient, under a key of its
-- own that wrapped_key holds encrypted.

CREATE TABLE alerts (
    id                 TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    patient_id         TEXT    COLLATE "C" REFERENCES patients (id),
    call_id            TEXT    COLLATE "C" REFERENCES calls (id),  -- of the latest occurrence
    kind               TEXT    COLLATE "C" NOT NULL,
    severity           BIGINT  NOT NULL,               -- 0 info, 1 review, 2 urgent, 3 critical
    status             TEXT    COLLATE "C" NOT NULL,
    topic_hash         BYTEA    NOT NULL,
    content            BYTEA    NOT NULL,               -- sealed
    key_id             TEXT COLLATE "C",
    wrapped_key        BYTEA,
    raised_at_us       BIGINT  NOT NULL,
    last_at_us         BIGINT  NOT NULL,
    occurrences        BIGINT  NOT NULL,
    climb              BIGINT  NOT NULL,               -- how often the contacts were told from the first one on
    climb_from_us      BIGINT  NOT NULL,
    next_step_us       BIGINT ,                        -- when to look whom to tell next; NULL: never
    acknowledged_by    TEXT COLLATE "C",
    acknowledged_at_us BIGINT ,
    acknowledged_note  BYTEA,                           -- sealed
    resolved_by        TEXT COLLATE "C",
    resolved_at_us     BIGINT ,
    resolved_note      BYTEA                            -- sealed
);

-- The same matter has one unresolved alert.
CREATE UNIQUE INDEX alerts_unresolved ON alerts (topic_hash) WHERE status <> 'resolved';
CREATE INDEX alerts_by_patient ON alerts (patient_id, id);
CREATE INDEX alerts_by_step ON alerts (next_step_us) WHERE next_step_us IS NOT NULL;

CREATE TABLE alert_occurrences (
    alert_id     TEXT    COLLATE "C" NOT NULL REFERENCES alerts (id),
    seq          BIGINT  NOT NULL,
    call_id      TEXT    COLLATE "C" REFERENCES calls (id),
    severity     BIGINT  NOT NULL,
    finding_hash BYTEA,                                 -- call and code; NULL without a call
    content      BYTEA    NOT NULL,                     -- sealed
    at_us        BIGINT  NOT NULL,
    PRIMARY KEY (alert_id, seq)
);

CREATE INDEX alert_occurrences_by_finding ON alert_occurrences (alert_id, finding_hash);

CREATE TABLE deliveries (
    id            TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    alert_id      TEXT    COLLATE "C" NOT NULL REFERENCES alerts (id),
    climb         BIGINT  NOT NULL,
    step          BIGINT  NOT NULL,
    contact       BIGINT  NOT NULL,                    -- place in the order of the settings, from 0
    channel       TEXT    COLLATE "C" NOT NULL,
    state         TEXT    COLLATE "C" NOT NULL,
    attempts      BIGINT  NOT NULL,
    unsure        BIGINT  NOT NULL,                    -- 1: an attempt may have been carried out unheard
    next_try_us   BIGINT  NOT NULL,                    -- while being sent: when it counts as given up
    service_id    TEXT COLLATE "C",                                -- the delivering service's own identifier
    error         TEXT COLLATE "C",
    made_at_us    BIGINT  NOT NULL,
    settled_at_us BIGINT ,
    UNIQUE (alert_id, climb, step, contact, channel)
);

CREATE INDEX deliveries_to_send ON deliveries (channel, next_try_us) WHERE state IN ('waiting', 'sending');

CREATE TABLE api_tokens (
    id            TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    name          TEXT    COLLATE "C" NOT NULL,
    token_hash    BYTEA    NOT NULL UNIQUE,
    created_at_us BIGINT  NOT NULL,
    expires_at_us BIGINT ,
    revoked_at_us BIGINT 
);
