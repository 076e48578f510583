-- Answers to requests that may come again because the first answer was lost. Moments are as in the tables before.

-- Which claim was last ended by its own runner, and as what: its epoch and a status with a colon between them.
ALTER TABLE execution ADD COLUMN ended_claim TEXT;

CREATE TABLE receipt (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    answer BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX receipt_by_age ON receipt (created_at);

-- Whoever waits for work or for an answer is woken by the commit that brings it. All of a transaction's
-- notices are one, because they say the same.
CREATE FUNCTION kitaru_tell_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kitaru_change', '');
    RETURN NULL;
END;
$$;

CREATE TRIGGER tell_pending_created AFTER INSERT ON execution
FOR EACH ROW WHEN (NEW.status = 'pending') EXECUTE FUNCTION kitaru_tell_change();

CREATE TRIGGER tell_pending AFTER UPDATE OF status ON execution
FOR EACH ROW WHEN (NEW.status = 'pending' AND NEW.held_at IS NULL) EXECUTE FUNCTION kitaru_tell_change();

CREATE TRIGGER tell_wait_over AFTER UPDATE OF status ON wait
FOR EACH ROW WHEN (OLD.status = 'open' AND NEW.status <> 'open') EXECUTE FUNCTION kitaru_tell_change();
