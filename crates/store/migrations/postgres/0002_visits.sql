-- What the clinic notes about a patient beside the record, sealed under the patient's key.
CREATE TABLE profiles (
    patient_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES patients (id),
    profile    BYTEA NOT NULL                       -- sealed
);

-- What was learned in a call, sealed under the call's key. The assessment is a function of the facts of this and earlier
-- calls; it is kept as it was shown.
CREATE TABLE visits (
    call_id       TEXT    COLLATE "C" NOT NULL PRIMARY KEY REFERENCES calls (id),
    record        BYTEA    NOT NULL,                -- sealed
    facts         BYTEA    NOT NULL,                -- sealed
    assessment    BYTEA,                            -- sealed
    shadow        BYTEA,                            -- sealed: the candidate model's assessment, shown to nobody
    revision      BIGINT  NOT NULL,                -- counts changes after the first writing
    updated_at_us BIGINT  NOT NULL
);
