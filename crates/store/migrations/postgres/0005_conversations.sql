-- Which call a conversation of an agent service belongs to, and what the service sent about it afterwards.

CREATE TABLE conversations (
    conversation_hash BYTEA NOT NULL PRIMARY KEY,
    call_id           TEXT COLLATE "C" NOT NULL REFERENCES calls (id)
);

CREATE INDEX conversations_by_call ON conversations (call_id);

CREATE TABLE post_calls (
    call_id           TEXT    COLLATE "C" NOT NULL REFERENCES calls (id),
    conversation_hash BYTEA    NOT NULL,
    kind              TEXT    COLLATE "C" NOT NULL,
    received_at_us    BIGINT  NOT NULL,
    reconciled_at_us  BIGINT ,
    payload           BYTEA    NOT NULL,          -- sealed
    PRIMARY KEY (conversation_hash, kind)
);

CREATE INDEX post_calls_by_call ON post_calls (call_id);
CREATE INDEX post_calls_waiting ON post_calls (received_at_us) WHERE reconciled_at_us IS NULL;
