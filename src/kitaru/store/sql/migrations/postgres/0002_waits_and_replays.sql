-- Waits and replays. Moments and words are as in the tables before.

-- No foreign key: an origin may be deleted once its replays have finished.
ALTER TABLE execution ADD COLUMN origin_id TEXT COLLATE "C";
ALTER TABLE execution ADD COLUMN replay_plan TEXT
CONSTRAINT plan_of_a_replay CHECK (replay_plan IS NULL OR origin_id IS NOT NULL);

CREATE INDEX execution_by_origin ON execution (origin_id, project, created_at, id)
WHERE origin_id IS NOT NULL;

-- When the next attempt was to begin, and how many there may be; neither after the last one.
ALTER TABLE attempt ADD COLUMN next_at BIGINT;
ALTER TABLE attempt ADD COLUMN most INTEGER
CONSTRAINT most_with_a_next CHECK ((most IS NULL) = (next_at IS NULL));

-- `child_id` is no foreign key either: a wait that is over must not keep its child from being deleted.
CREATE TABLE wait (
    execution_id TEXT COLLATE "C" NOT NULL REFERENCES execution (id) ON DELETE CASCADE,
    position TEXT COLLATE "C" NOT NULL,
    wait_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('input', 'child', 'timer')),
    status TEXT NOT NULL CHECK (status IN ('open', 'answered', 'aborted', 'expired', 'closed')),
    question TEXT,
    schema TEXT,
    metadata TEXT NOT NULL,
    wake_at BIGINT,
    child_id TEXT COLLATE "C",
    asked_by TEXT NOT NULL,
    problem TEXT,
    created_at BIGINT NOT NULL,
    answer TEXT,
    resolved_at BIGINT,
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
);

CREATE INDEX wait_due ON wait (wake_at, execution_id, position)
WHERE status = 'open' AND wake_at IS NOT NULL;
CREATE INDEX wait_question ON wait (created_at, execution_id, position)
WHERE status = 'open' AND kind = 'input';
CREATE INDEX wait_by_child ON wait (child_id) WHERE status = 'open' AND child_id IS NOT NULL;
