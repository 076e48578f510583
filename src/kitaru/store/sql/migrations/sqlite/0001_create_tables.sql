-- Moments are microseconds since the epoch, UTC. A value is a codec with either its bytes or the digest of
-- its blob. Within a row, what changes often stands before what is large, so that renewing a lease rewrites
-- one page and never the inputs behind it. Words are checked with OR, the likeliest first: for IN with
-- more than two, SQLite builds a table in every statement, which costs as much as the rest of an insert.

CREATE TABLE execution (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    flow TEXT NOT NULL,
    status TEXT NOT NULL
        CHECK (
            status = 'running' OR status = 'completed' OR status = 'pending'
            OR status = 'waiting' OR status = 'failed' OR status = 'cancelled'
        ),
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    lease_owner TEXT,
    lease_expires_at INTEGER,
    cancel_requested_at INTEGER,
    cancel_requested_by TEXT,
    recoveries INTEGER NOT NULL CHECK (recoveries >= 0),
    max_recoveries INTEGER NOT NULL,
    retries_left INTEGER NOT NULL CHECK (retries_left >= 0),
    runnable_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    status_reason TEXT,
    code_ref TEXT NOT NULL,
    code_root TEXT NOT NULL,
    code_hash TEXT NOT NULL,
    stack TEXT NOT NULL,
    parent_id TEXT REFERENCES execution (id),
    parent_position TEXT,
    idempotency_key TEXT,
    tags TEXT NOT NULL,
    spec TEXT NOT NULL,
    inputs_codec TEXT NOT NULL,
    inputs_size INTEGER NOT NULL,
    inputs_digest TEXT,
    inputs_data BLOB,
    result_codec TEXT,
    result_size INTEGER,
    result_digest TEXT,
    result_data BLOB,
    failure TEXT,
    CONSTRAINT leased_while_running CHECK ((lease_owner IS NOT NULL) = (status = 'running')),
    CONSTRAINT lease_has_expiry CHECK ((lease_owner IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT claimed_to_run CHECK (status <> 'running' OR (epoch > 0 AND started_at IS NOT NULL)),
    CONSTRAINT ended_when_finished CHECK (
        (ended_at IS NOT NULL) = (status = 'completed' OR status = 'failed' OR status = 'cancelled')
    ),
    CONSTRAINT result_when_completed CHECK (result_codec IS NULL OR status = 'completed'),
    CONSTRAINT failure_when_failed CHECK (failure IS NULL OR status = 'failed'),
    CONSTRAINT position_in_a_parent CHECK (parent_position IS NULL OR parent_id IS NOT NULL),
    CONSTRAINT cancel_has_moment CHECK (cancel_requested_by IS NULL OR cancel_requested_at IS NOT NULL),
    CONSTRAINT inputs_lie_somewhere CHECK ((inputs_data IS NULL) <> (inputs_digest IS NULL)),
    CONSTRAINT result_lies_somewhere CHECK (
        (result_codec IS NOT NULL) = ((result_data IS NULL) <> (result_digest IS NULL))
        AND (result_codec IS NULL) = (result_size IS NULL)
    )
) STRICT;

-- Every list is newest first within one status; one of all statuses is merged from six (`listing.py`). Two
-- indexes instead of four are 10 us less for each run. Looking for what runs uses the first one, too.
CREATE INDEX execution_by_status ON execution (status, project, created_at, id);
CREATE INDEX execution_by_flow ON execution (project, flow, status, created_at, id);
CREATE UNIQUE INDEX execution_by_idempotency_key ON execution (project, flow, idempotency_key)
WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX execution_by_parent ON execution (parent_id, parent_position)
WHERE parent_id IS NOT NULL;
CREATE INDEX execution_pending ON execution (runnable_at, id) WHERE status = 'pending';

-- `seq` keeps the order in which positions were first written, which an update does not change.
CREATE TABLE call (
    seq INTEGER NOT NULL PRIMARY KEY,
    execution_id TEXT NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT NOT NULL,
    call_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind = 'checkpoint' OR kind = 'child' OR kind = 'value'),
    type TEXT,
    fingerprint BLOB NOT NULL,
    ordered INTEGER NOT NULL CHECK (ordered = 1 OR ordered = 0),
    status TEXT NOT NULL CHECK (
        status = 'completed' OR status = 'running' OR status = 'failed'
        OR status = 'cached' OR status = 'pending'
    ),
    upstreams TEXT NOT NULL,
    cache_key BLOB,
    cached_from TEXT,
    epoch INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    inputs_codec TEXT,
    inputs_size INTEGER,
    inputs_digest TEXT,
    inputs_data BLOB,
    output_codec TEXT,
    output_size INTEGER,
    output_digest TEXT,
    output_data BLOB,
    failure TEXT,
    UNIQUE (execution_id, position),
    CONSTRAINT ended_when_recorded CHECK (
        (ended_at IS NOT NULL) = (status = 'completed' OR status = 'cached' OR status = 'failed')
    ),
    CONSTRAINT output_when_completed CHECK (
        (output_codec IS NOT NULL) = (status = 'completed' OR status = 'cached')
    ),
    CONSTRAINT failure_when_failed CHECK ((failure IS NOT NULL) = (status = 'failed')),
    CONSTRAINT inputs_lie_somewhere CHECK (
        (inputs_codec IS NOT NULL) = ((inputs_data IS NULL) <> (inputs_digest IS NULL))
        AND (inputs_codec IS NULL) = (inputs_size IS NULL)
    ),
    CONSTRAINT output_lies_somewhere CHECK (
        (output_codec IS NOT NULL) = ((output_data IS NULL) <> (output_digest IS NULL))
        AND (output_codec IS NULL) = (output_size IS NULL)
    )
) STRICT;

CREATE INDEX call_by_cache_key ON call (cache_key, ended_at)
WHERE status = 'completed' AND cache_key IS NOT NULL;

CREATE TABLE attempt (
    execution_id TEXT NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number > 0),
    status TEXT NOT NULL CHECK (status = 'failed' OR status = 'timed_out'),
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    failure TEXT NOT NULL,
    PRIMARY KEY (execution_id, position, number)
) STRICT;

CREATE TABLE artifact (
    seq INTEGER NOT NULL PRIMARY KEY,
    execution_id TEXT NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    position TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    tags TEXT NOT NULL,
    attempt_failed INTEGER NOT NULL CHECK (attempt_failed = 0 OR attempt_failed = 1),
    created_at INTEGER NOT NULL,
    value_codec TEXT NOT NULL,
    value_size INTEGER NOT NULL,
    value_digest TEXT,
    value_data BLOB,
    UNIQUE (execution_id, id),
    CONSTRAINT value_lies_somewhere CHECK ((value_data IS NULL) <> (value_digest IS NULL))
) STRICT;

CREATE TABLE metadata (
    execution_id TEXT NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (execution_id, position, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_line (
    seq INTEGER NOT NULL PRIMARY KEY,
    execution_id TEXT NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source = 'stdout' OR source = 'stderr' OR source = 'logging'),
    level TEXT,
    logger TEXT,
    message TEXT NOT NULL,
    module TEXT,
    filename TEXT,
    lineno INTEGER,
    logged_at INTEGER NOT NULL
) STRICT;

CREATE INDEX log_line_by_execution ON log_line (execution_id, seq);

CREATE TABLE event (
    seq INTEGER NOT NULL PRIMARY KEY,
    execution_id TEXT NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    position TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX event_by_execution ON event (execution_id, seq);
