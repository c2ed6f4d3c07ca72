-- Calls that we make. Times are integer microseconds since the Unix epoch; a far future (the largest integer) stands for
-- "not by itself". planned_for is a day of the patient's own calendar, as YYYY-MM-DD.

CREATE TABLE schedules (
    id            TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    patient_id    TEXT    COLLATE "C" NOT NULL REFERENCES patients (id),
    definition    BYTEA    NOT NULL,              -- the timetable, sealed under the patient's key
    paused        BIGINT  NOT NULL,
    removed       BIGINT  NOT NULL,
    next_date     TEXT COLLATE "C",                          -- the day that is planned next
    next_plan_us  BIGINT  NOT NULL,              -- when it is
    created_at_us BIGINT  NOT NULL
);

CREATE INDEX schedules_by_patient ON schedules (patient_id, id);
CREATE INDEX schedules_to_plan ON schedules (next_plan_us, id) WHERE paused = 0 AND removed = 0;

CREATE TABLE planned_calls (
    id              TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    patient_id      TEXT    COLLATE "C" NOT NULL REFERENCES patients (id),
    schedule_id     TEXT    COLLATE "C" REFERENCES schedules (id),  -- NULL: somebody asked for it by hand
    planned_for     TEXT    COLLATE "C" NOT NULL,
    opens_at_us     BIGINT  NOT NULL,
    closes_at_us    BIGINT  NOT NULL,
    first_due_us    BIGINT  NOT NULL,
    max_attempts    BIGINT  NOT NULL,
    retry_after     TEXT    COLLATE "C" NOT NULL,            -- JSON: minutes by outcome
    state           TEXT    COLLATE "C" NOT NULL,            -- open, done, missed, cancelled
    reason          TEXT COLLATE "C",                        -- of a missed call
    next_at_us      BIGINT  NOT NULL,            -- when there is something to decide
    reported_at_us  BIGINT ,                     -- when somebody was told that it was missed
    created_at_us   BIGINT  NOT NULL
);

-- Two schedules of one patient that meet on a day make one call.
CREATE UNIQUE INDEX planned_calls_once ON planned_calls (patient_id, planned_for) WHERE schedule_id IS NOT NULL;
CREATE UNIQUE INDEX planned_calls_by_hand ON planned_calls (patient_id) WHERE schedule_id IS NULL AND state = 'open';
CREATE INDEX planned_calls_by_patient ON planned_calls (patient_id, opens_at_us, id);
CREATE INDEX planned_calls_due ON planned_calls (next_at_us, id) WHERE state = 'open';
CREATE INDEX planned_calls_of_schedule ON planned_calls (schedule_id) WHERE state = 'open';
CREATE INDEX planned_calls_missed ON planned_calls (id) WHERE state = 'missed' AND reported_at_us IS NULL;

CREATE TABLE call_attempts (
    id              TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    planned_call_id TEXT    COLLATE "C" NOT NULL REFERENCES planned_calls (id),
    patient_id      TEXT    COLLATE "C" NOT NULL REFERENCES patients (id),
    number          BIGINT  NOT NULL,            -- from 1
    state           TEXT    COLLATE "C" NOT NULL,
    claimed_at_us   BIGINT  NOT NULL,
    settled_at_us   BIGINT ,
    check_at_us     BIGINT  NOT NULL,            -- when to ask what became of it
    line_free_us    BIGINT  NOT NULL,            -- until then a settled attempt still takes up its line
    call_sid_hash   BYTEA    UNIQUE,
    call_sid        BYTEA,                        -- sealed under the patient's key
    UNIQUE (planned_call_id, number)
);

CREATE INDEX call_attempts_in_flight ON call_attempts (check_at_us, id) WHERE state IN ('claimed', 'placed');
CREATE INDEX call_attempts_on_line ON call_attempts (line_free_us);
CREATE INDEX call_attempts_by_claim ON call_attempts (claimed_at_us);
