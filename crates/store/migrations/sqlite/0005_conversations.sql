-- Which call a conversation of an agent service belongs to, and what the service sent about it afterwards.

CREATE TABLE conversations (
    conversation_hash BLOB NOT NULL PRIMARY KEY,
    call_id           TEXT NOT NULL REFERENCES calls (id)
);

CREATE INDEX conversations_by_call ON conversations (call_id);

CREATE TABLE post_calls (
    call_id           TEXT    NOT NULL REFERENCES calls (id),
    conversation_hash BLOB    NOT NULL,
    kind              TEXT    NOT NULL,
    received_at_us    INTEGER NOT NULL,
    reconciled_at_us  INTEGER,
    payload           BLOB    NOT NULL,          -- sealed
    PRIMARY KEY (conversation_hash, kind)
);

CREATE INDEX post_calls_by_call ON post_calls (call_id);
CREATE INDEX post_calls_waiting ON post_calls (received_at_us) WHERE reconciled_at_us IS NULL;
