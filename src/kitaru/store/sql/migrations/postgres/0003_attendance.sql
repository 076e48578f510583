-- Who looks after executions while nobody watches. Moments and words are as in the tables before.

-- Someone has stopped it by hand: it is pending, but only whoever asks for it by name goes on with it.
ALTER TABLE execution ADD COLUMN held_at BIGINT
CONSTRAINT held_while_pending CHECK (held_at IS NULL OR status = 'pending');

-- How often a process was started for it since it was last claimed, and when the next one may be.
ALTER TABLE execution ADD COLUMN launches INTEGER NOT NULL DEFAULT 0 CHECK (launches >= 0);
ALTER TABLE execution ADD COLUMN launch_after BIGINT;

CREATE INDEX execution_pending ON execution (runnable_at, id)
WHERE status = 'pending' AND held_at IS NULL;

-- Of an owner that is known to be dead, or a lease that has run out, all that runs is looked at.
CREATE INDEX execution_running ON execution (lease_expires_at, id) WHERE status = 'running';

-- Processes that claim what is pending. `code_keys` is a JSON list of the code that one has: for each flow, the
-- executions' `code_root` and `code_ref` with a bar between them.
CREATE TABLE worker (
    owner TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project TEXT COLLATE "C" NOT NULL,
    stack TEXT COLLATE "C" NOT NULL,
    code_keys TEXT NOT NULL CHECK (CAST(code_keys AS JSONB) IS NOT NULL),
    concurrency INTEGER NOT NULL CHECK (concurrency > 0),
    running INTEGER NOT NULL CHECK (running >= 0),
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);

-- Whether any row names a blob. Most values lie in their rows and cost these indexes nothing.
CREATE INDEX execution_by_inputs_digest ON execution (inputs_digest) WHERE inputs_digest IS NOT NULL;
CREATE INDEX execution_by_result_digest ON execution (result_digest) WHERE result_digest IS NOT NULL;
CREATE INDEX call_by_inputs_digest ON call (inputs_digest) WHERE inputs_digest IS NOT NULL;
CREATE INDEX call_by_output_digest ON call (output_digest) WHERE output_digest IS NOT NULL;
CREATE INDEX artifact_by_value_digest ON artifact (value_digest) WHERE value_digest IS NOT NULL;
