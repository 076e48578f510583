-- Answers to requests that may come again because the first answer was lost. Moments are as in the tables before.

-- Which claim was last ended by its own runner, and as what: its epoch and a status with a colon between them.
ALTER TABLE execution ADD COLUMN ended_claim TEXT;

CREATE TABLE receipt (
    key TEXT NOT NULL PRIMARY KEY,
    answer BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX receipt_by_age ON receipt (created_at);
