-- Waits and replays. Moments and words are as in the tables before.

-- No foreign key: an origin may be deleted once its replays have finished.
ALTER TABLE execution ADD COLUMN origin_id TEXT;
ALTER TABLE execution ADD COLUMN replay_plan TEXT
CONSTRAINT plan_of_a_replay CHECK (replay_plan IS NULL OR origin_id IS NOT NULL);

CREATE INDEX execution_by_origin ON execution (origin_id, project, created_at, id)
WHERE origin_id IS NOT NULL;

-- When the next attempt was to begin, and how many there may be; neither after the last one.
ALTER TABLE attempt ADD COLUMN next_at INTEGER;
ALTER TABLE attempt ADD COLUMN most INTEGER
CONSTRAINT most_with_a_next CHECK ((most IS NULL) = (next_at IS NULL));

-- Constraints cannot be changed in place. Nothing references a call.
DROP INDEX call_by_cache_key;
ALTER TABLE call RENAME TO call_before;

-- `seq` keeps the order in which positions were first written, which an update does not change.
CREATE TABLE call (
    seq INTEGER NOT NULL PRIMARY KEY,
    execution_id TEXT NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT NOT NULL,
    call_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (
        kind = 'checkpoint' OR kind = 'value' OR kind = 'child' OR kind = 'wait' OR kind = 'timer'
    ),
    type TEXT,
    fingerprint BLOB NOT NULL,
    ordered INTEGER NOT NULL CHECK (ordered = 1 OR ordered = 0),
    status TEXT NOT NULL CHECK (
        status = 'completed' OR status = 'running' OR status = 'failed' OR status = 'cached'
        OR status = 'reused' OR status = 'pending' OR status = 'overridden'
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
        (ended_at IS NULL) = (status = 'running' OR status = 'pending')
    ),
    CONSTRAINT output_when_completed CHECK (
        (output_codec IS NOT NULL) = (
            status = 'completed' OR status = 'cached' OR status = 'overridden'
            OR (status = 'reused' AND failure IS NULL)
        )
    ),
    CONSTRAINT failure_when_failed CHECK (
        (failure IS NOT NULL) = (status = 'failed' OR (status = 'reused' AND output_codec IS NULL))
    ),
    CONSTRAINT inputs_lie_somewhere CHECK (
        (inputs_codec IS NOT NULL) = ((inputs_data IS NULL) <> (inputs_digest IS NULL))
        AND (inputs_codec IS NULL) = (inputs_size IS NULL)
    ),
    CONSTRAINT output_lies_somewhere CHECK (
        (output_codec IS NOT NULL) = ((output_data IS NULL) <> (output_digest IS NULL))
        AND (output_codec IS NULL) = (output_size IS NULL)
    )
) STRICT;

INSERT INTO call (
    seq, execution_id, position, call_id, name, kind, type, fingerprint, ordered, status,
    upstreams, cache_key, cached_from, epoch, started_at, ended_at,
    inputs_codec, inputs_size, inputs_digest, inputs_data,
    output_codec, output_size, output_digest, output_data, failure
)
SELECT
    seq, execution_id, position, call_id, name, kind, type, fingerprint, ordered, status,
    upstreams, cache_key, cached_from, epoch, started_at, ended_at,
    inputs_codec, inputs_size, inputs_digest, inputs_data,
    output_codec, output_size, output_digest, output_data, failure
FROM call_before
ORDER BY seq;

DROP TABLE call_before;

CREATE INDEX call_by_cache_key ON call (cache_key, ended_at)
WHERE status = 'completed' AND cache_key IS NOT NULL;

-- `child_id` is no foreign key either: a wait that is over must not keep its child from being deleted.
CREATE TABLE wait (
    execution_id TEXT NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT NOT NULL,
    wait_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind = 'input' OR kind = 'child' OR kind = 'timer'),
    status TEXT NOT NULL CHECK (
        status = 'open' OR status = 'answered' OR status = 'aborted' OR status = 'expired'
        OR status = 'closed'
    ),
    question TEXT,
    schema TEXT,
    metadata TEXT NOT NULL,
    wake_at INTEGER,
    child_id TEXT,
    asked_by TEXT NOT NULL,
    problem TEXT,
    created_at INTEGER NOT NULL,
    answer TEXT,
    resolved_at INTEGER,
    resolved_by TEXT,
    resolved_via TEXT,
    PRIMARY KEY (execution_id, position),
    CONSTRAINT resolved_unless_open CHECK ((resolved_at IS NULL) = (status = 'open')),
    CONSTRAINT someone_resolves_what_is_not_open CHECK (
        status <> 'open' OR (resolved_by IS NULL AND resolved_via IS NULL)
    ),
    CONSTRAINT question_asks_for_input CHECK (
        kind = 'input' OR (question IS NULL AND schema IS NULL AND problem IS NULL)
    ),
    CONSTRAINT answer_when_answered CHECK (
        answer IS NULL OR (kind = 'input' AND status = 'answered')
    ),
    CONSTRAINT child_of_a_child_wait CHECK ((child_id IS NOT NULL) = (kind = 'child')),
    CONSTRAINT timer_has_moment CHECK (kind <> 'timer' OR wake_at IS NOT NULL),
    CONSTRAINT someone_aborts_a_question CHECK (kind = 'input' OR status <> 'aborted'),
    CONSTRAINT timer_does_not_expire CHECK (kind <> 'timer' OR status <> 'expired')
) STRICT;

CREATE INDEX wait_due ON wait (wake_at, execution_id, position)
WHERE status = 'open' AND wake_at IS NOT NULL;
CREATE INDEX wait_question ON wait (created_at, execution_id, position)
WHERE status = 'open' AND kind = 'input';
CREATE INDEX wait_by_child ON wait (child_id) WHERE status = 'open' AND child_id IS NOT NULL;
