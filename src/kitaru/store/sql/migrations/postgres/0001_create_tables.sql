-- Moments are microseconds since the epoch, UTC. A value is a codec with either its bytes or the digest of
-- its blob. Ids, names and positions sort by their bytes (COLLATE "C"), as in every other store, whatever
-- the database's own language. Values are stored as they are: most of them are compressed by nobody twice.

-- The rules of the two tables that are written all the time are functions: the database reads the text of a
-- constraint again in every statement, which took a third of a checkpoint's, and compiles a function once.
CREATE FUNCTION kitaru_is_execution(
    status TEXT, epoch BIGINT, lease_owner TEXT, lease_expires_at BIGINT, cancel_requested_at BIGINT,
    cancel_requested_by TEXT, recoveries INTEGER, retries_left INTEGER, started_at BIGINT, ended_at BIGINT,
    parent_id TEXT, parent_position TEXT, tags TEXT, inputs_digest TEXT, inputs_data BYTEA,
    result_codec TEXT, result_size BIGINT, result_digest TEXT, result_data BYTEA, failure TEXT
) RETURNS BOOLEAN LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled')
        AND epoch >= 0
        AND recoveries >= 0
        AND retries_left >= 0
        -- leased while running, and claimed before
        AND (lease_owner IS NOT NULL) = (status = 'running')
        AND (lease_owner IS NULL) = (lease_expires_at IS NULL)
        AND (status <> 'running' OR (epoch > 0 AND started_at IS NOT NULL))
        AND (ended_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))
        AND (result_codec IS NULL OR status = 'completed')
        AND (failure IS NULL OR status = 'failed')
        AND (parent_position IS NULL OR parent_id IS NOT NULL)
        AND (cancel_requested_by IS NULL OR cancel_requested_at IS NOT NULL)
        -- Cast when executions are looked up by tag, which must not fail then.
        AND CAST(tags AS JSONB) IS NOT NULL
        -- values lie somewhere, and in one place
        AND (inputs_data IS NULL) <> (inputs_digest IS NULL)
        AND (result_codec IS NOT NULL) = ((result_data IS NULL) <> (result_digest IS NULL))
        AND (result_codec IS NULL) = (result_size IS NULL);
END;
$$;

CREATE TABLE execution (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project TEXT COLLATE "C" NOT NULL,
    flow TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL,
    lease_owner TEXT,
    lease_expires_at BIGINT,
    cancel_requested_at BIGINT,
    cancel_requested_by TEXT,
    recoveries INTEGER NOT NULL,
    max_recoveries INTEGER NOT NULL,
    retries_left INTEGER NOT NULL,
    runnable_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    status_reason TEXT,
    code_ref TEXT COLLATE "C" NOT NULL,
    code_root TEXT COLLATE "C" NOT NULL,
    code_hash TEXT NOT NULL,
    stack TEXT COLLATE "C" NOT NULL,
    parent_id TEXT COLLATE "C" REFERENCES execution (id),
    parent_position TEXT COLLATE "C",
    idempotency_key TEXT COLLATE "C",
    tags TEXT NOT NULL,
    spec TEXT NOT NULL,
    inputs_codec TEXT NOT NULL,
    inputs_size BIGINT NOT NULL,
    inputs_digest TEXT COLLATE "C",
    inputs_data BYTEA,
    result_codec TEXT,
    result_size BIGINT,
    result_digest TEXT COLLATE "C",
    result_data BYTEA,
    failure TEXT,
    CONSTRAINT is_whole CHECK (
        kitaru_is_execution(
            status, epoch, lease_owner, lease_expires_at, cancel_requested_at, cancel_requested_by,
            recoveries, retries_left, started_at, ended_at, parent_id, parent_position, tags,
            inputs_digest, inputs_data, result_codec, result_size, result_digest, result_data, failure
        )
    )
) WITH (fillfactor = 80); -- room for renewed leases beside the row that they are of, so that no index changes

ALTER TABLE execution ALTER COLUMN inputs_data SET STORAGE EXTERNAL;
ALTER TABLE execution ALTER COLUMN result_data SET STORAGE EXTERNAL;

-- Every list is newest first within one status; one of all statuses is merged from six (`listing.py`).
CREATE INDEX execution_by_status ON execution (status, project, created_at, id);
CREATE INDEX execution_by_flow ON execution (project, flow, status, created_at, id);
CREATE UNIQUE INDEX execution_by_idempotency_key ON execution (project, flow, idempotency_key)
WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX execution_by_parent ON execution (parent_id, parent_position)
WHERE parent_id IS NOT NULL;

CREATE FUNCTION kitaru_is_call(
    kind TEXT, ordered SMALLINT, status TEXT, ended_at BIGINT, failure TEXT, inputs_codec TEXT,
    inputs_size BIGINT, inputs_digest TEXT, inputs_data BYTEA, output_codec TEXT, output_size BIGINT,
    output_digest TEXT, output_data BYTEA
) RETURNS BOOLEAN LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN kind IN ('checkpoint', 'value', 'child', 'wait', 'timer')
        AND ordered IN (0, 1)
        AND status IN ('completed', 'running', 'failed', 'cached', 'reused', 'pending', 'overridden')
        AND (ended_at IS NULL) = (status IN ('running', 'pending'))
        -- a result when completed, and a failure when failed
        AND (output_codec IS NOT NULL) = (
            status IN ('completed', 'cached', 'overridden') OR (status = 'reused' AND failure IS NULL)
        )
        AND (failure IS NOT NULL) = (status = 'failed' OR (status = 'reused' AND output_codec IS NULL))
        -- values lie somewhere, and in one place
        AND (inputs_codec IS NOT NULL) = ((inputs_data IS NULL) <> (inputs_digest IS NULL))
        AND (inputs_codec IS NULL) = (inputs_size IS NULL)
        AND (output_codec IS NOT NULL) = ((output_data IS NULL) <> (output_digest IS NULL))
        AND (output_codec IS NULL) = (output_size IS NULL);
END;
$$;

-- `seq` keeps the order in which positions were first written, which an update does not change.
CREATE TABLE call (
    seq BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    execution_id TEXT COLLATE "C" NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT COLLATE "C" NOT NULL,
    call_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    type TEXT,
    fingerprint BYTEA NOT NULL,
    ordered SMALLINT NOT NULL,
    status TEXT NOT NULL,
    upstreams TEXT NOT NULL,
    cache_key BYTEA,
    cached_from TEXT,
    epoch BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    inputs_codec TEXT,
    inputs_size BIGINT,
    inputs_digest TEXT COLLATE "C",
    inputs_data BYTEA,
    output_codec TEXT,
    output_size BIGINT,
    output_digest TEXT COLLATE "C",
    output_data BYTEA,
    failure TEXT,
    PRIMARY KEY (execution_id, position),
    CONSTRAINT is_whole CHECK (
        kitaru_is_call(
            kind, ordered, status, ended_at, failure, inputs_codec, inputs_size, inputs_digest, inputs_data,
            output_codec, output_size, output_digest, output_data
        )
    )
);

ALTER TABLE call ALTER COLUMN inputs_data SET STORAGE EXTERNAL;
ALTER TABLE call ALTER COLUMN output_data SET STORAGE EXTERNAL;

CREATE INDEX call_by_cache_key ON call (cache_key, ended_at)
WHERE status = 'completed' AND cache_key IS NOT NULL;

CREATE TABLE attempt (
    execution_id TEXT COLLATE "C" NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT COLLATE "C" NOT NULL,
    number INTEGER NOT NULL CHECK (number > 0),
    status TEXT NOT NULL CHECK (status IN ('failed', 'timed_out')),
    started_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    failure TEXT NOT NULL,
    PRIMARY KEY (execution_id, position, number)
);

CREATE TABLE artifact (
    seq BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    execution_id TEXT COLLATE "C" NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    position TEXT COLLATE "C" NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    tags TEXT NOT NULL,
    attempt_failed SMALLINT NOT NULL CHECK (attempt_failed IN (0, 1)),
    created_at BIGINT NOT NULL,
    value_codec TEXT NOT NULL,
    value_size BIGINT NOT NULL,
    value_digest TEXT COLLATE "C",
    value_data BYTEA,
    PRIMARY KEY (execution_id, id),
    CONSTRAINT value_lies_somewhere CHECK ((value_data IS NULL) <> (value_digest IS NULL))
);

ALTER TABLE artifact ALTER COLUMN value_data SET STORAGE EXTERNAL;

CREATE TABLE metadata (
    execution_id TEXT COLLATE "C" NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (execution_id, position, key)
);

CREATE TABLE log_line (
    seq BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    execution_id TEXT COLLATE "C" NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT COLLATE "C" NOT NULL,
    attempt INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('stdout', 'stderr', 'logging')),
    level TEXT,
    logger TEXT,
    message TEXT NOT NULL,
    module TEXT,
    filename TEXT,
    lineno INTEGER,
    logged_at BIGINT NOT NULL,
    PRIMARY KEY (execution_id, seq)
);

CREATE TABLE event (
    seq BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    execution_id TEXT COLLATE "C" NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    position TEXT COLLATE "C" NOT NULL,
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (execution_id, seq)
);
