-- name: find_execution(exec_id)
-- One execution's row.
SELECT
    id, project, flow, code_ref, code_root, code_hash, status, epoch, lease_owner, lease_expires_at,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    result_codec, result_data, result_digest, result_size,
    failure, stack, spec, tags, parent_id, parent_position, idempotency_key,
    cancel_requested_at, cancel_requested_by, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, ended_at, status_reason, origin_id, replay_plan,
    held_at, launches
FROM execution
WHERE id = :exec_id;

-- name: execution_columns()
-- What every list of executions begins with; `listing.py` adds the conditions.
SELECT
    id, project, flow, code_ref, code_root, code_hash, status, epoch, lease_owner, lease_expires_at,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    result_codec, result_data, result_digest, result_size,
    failure, stack, spec, tags, parent_id, parent_position, idempotency_key,
    cancel_requested_at, cancel_requested_by, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, ended_at, status_reason, origin_id, replay_plan,
    held_at, launches
FROM execution;

-- name: find_execution_ids(prefix, beyond, limit)
-- Ids from `prefix` on, up to the first that cannot begin with it.
SELECT id
FROM execution
WHERE id >= :prefix AND id < :beyond
ORDER BY id
LIMIT :limit;

-- name: insert_execution(exec_id, project, flow, code_ref, code_root, code_hash, status, epoch, lease_owner, lease_expires_at, inputs_codec, inputs_data, inputs_digest, inputs_size, stack, spec, tags, parent_id, parent_position, idempotency_key, max_recoveries, retries_left, runnable_at, created_at, started_at, origin_id, replay_plan)!
-- A new execution, unless its id, its idempotency key or its place in its parent is taken.
INSERT INTO execution (
    id, project, flow, code_ref, code_root, code_hash, status, epoch, lease_owner, lease_expires_at,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    stack, spec, tags, parent_id, parent_position, idempotency_key, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, origin_id, replay_plan
)
VALUES (
    :exec_id, :project, :flow, :code_ref, :code_root, :code_hash, :status, :epoch, :lease_owner, :lease_expires_at,
    :inputs_codec, :inputs_data, :inputs_digest, :inputs_size,
    :stack, :spec, :tags, :parent_id, :parent_position, :idempotency_key, 0, :max_recoveries, :retries_left,
    :runnable_at, :created_at, :started_at, :origin_id, :replay_plan
)
ON CONFLICT DO NOTHING;

-- name: find_by_idempotency_key(project, flow, idempotency_key)
-- The execution that took this key.
SELECT id
FROM execution
WHERE project = :project AND flow = :flow AND idempotency_key = :idempotency_key;

-- name: find_by_parent_position(parent_id, parent_position)
-- The child that a call of its parent started.
SELECT id
FROM execution
WHERE parent_id = :parent_id AND parent_position = :parent_position;

-- name: get_parent(parent_id)
-- What decides whether a child may be created.
SELECT status, epoch, cancel_requested_at
FROM execution
WHERE id = :parent_id;

-- name: get_status(exec_id)
-- Where an execution stands, and whether it is to be cancelled.
SELECT status, cancel_requested_at
FROM execution
WHERE id = :exec_id;

-- name: reopen_execution(now, exec_id)!
-- Make a failed execution pending again.
UPDATE execution
SET
    status = 'pending', failure = NULL, ended_at = NULL, status_reason = NULL,
    cancel_requested_at = NULL, cancel_requested_by = NULL, recoveries = 0, runnable_at = :now
WHERE id = :exec_id AND status = 'failed';

-- name: reopen_call(exec_id, position)!
-- Let a failed call run again under its old id.
UPDATE call
SET status = 'pending', failure = NULL, ended_at = NULL
WHERE execution_id = :exec_id AND position = :position AND status = 'failed';

-- name: cancel_tree(now, requested_by, exec_id)
-- End what nobody runs, ask the others; a request that is already there stays as it is.
UPDATE execution
SET
    cancel_requested_at = :now,
    cancel_requested_by = :requested_by,
    ended_at = CASE WHEN status = 'running' THEN NULL ELSE :now END,
    status_reason = CASE WHEN status = 'running' THEN status_reason END,
    held_at = NULL,
    status = CASE WHEN status = 'running' THEN 'running' ELSE 'cancelled' END
WHERE status IN ('pending', 'running', 'waiting')
    AND cancel_requested_at IS NULL
    AND id IN (
        WITH RECURSIVE tree (id) AS (
            SELECT CAST(:exec_id AS TEXT)
            UNION
            SELECT child.id
            FROM tree
            INNER JOIN execution AS child ON child.parent_id = tree.id
        )
        SELECT tree.id FROM tree
    )
RETURNING id, ended_at;

-- name: lock_family(exec_id)
-- Nothing to do where writers exclude each other.
SELECT id FROM execution WHERE id = :exec_id;

-- name: find_origin(exec_id)
-- What a replay is made of; it stays until the replay is there.
SELECT status
FROM execution
WHERE id = :exec_id;

-- name: find_unfinished_in_tree(exec_id)
-- Which of an execution and its descendants keep it from being deleted.
WITH RECURSIVE tree (id) AS (
    SELECT CAST(:exec_id AS TEXT)
    UNION
    SELECT child.id
    FROM tree
    INNER JOIN execution AS child ON child.parent_id = tree.id
)
SELECT execution.id, execution.status
FROM tree
INNER JOIN execution ON execution.id = tree.id
WHERE execution.status IN ('pending', 'running', 'waiting')
ORDER BY execution.created_at, execution.id
LIMIT 1;

-- name: find_unfinished_ancestor(exec_id)
-- Which of an execution's ancestors may ask for it again.
WITH RECURSIVE ancestor (id, parent_id, status) AS (
    SELECT execution.id, execution.parent_id, execution.status
    FROM execution
    WHERE execution.id = :exec_id
    UNION
    SELECT parent.id, parent.parent_id, parent.status
    FROM ancestor
    INNER JOIN execution AS parent ON parent.id = ancestor.parent_id
)
SELECT ancestor.id, ancestor.status
FROM ancestor
WHERE ancestor.status IN ('pending', 'running', 'waiting')
LIMIT 1;

-- name: find_unfinished_replay(exec_id)
-- Which replay may still read an execution's journal, or ask for the results of what it and its ancestors started.
-- The few members are looked at first: in SQLite, CROSS JOIN keeps the order in which tables are named.
WITH RECURSIVE tree (id) AS (
    SELECT CAST(:exec_id AS TEXT)
    UNION
    SELECT child.id
    FROM tree
    INNER JOIN execution AS child ON child.parent_id = tree.id
),
ancestor (id, parent_id) AS (
    SELECT execution.id, execution.parent_id
    FROM execution
    WHERE execution.id = :exec_id
    UNION
    SELECT parent.id, parent.parent_id
    FROM ancestor
    INNER JOIN execution AS parent ON parent.id = ancestor.parent_id
),
member (id) AS (
    SELECT tree.id FROM tree
    UNION
    SELECT ancestor.id FROM ancestor
)
SELECT replay.id, replay.status, replay.origin_id
FROM member
CROSS JOIN execution AS replay
WHERE replay.origin_id = member.id
    AND replay.status IN ('pending', 'running', 'waiting')
ORDER BY replay.created_at, replay.id
LIMIT 1;

-- name: delete_tree(exec_id)!
-- Remove an execution and its descendants; their journals and logs go with them.
DELETE FROM execution
WHERE id IN (
    WITH RECURSIVE tree (id) AS (
        SELECT CAST(:exec_id AS TEXT)
        UNION
        SELECT child.id
        FROM tree
        INNER JOIN execution AS child ON child.parent_id = tree.id
    )
    SELECT tree.id FROM tree
);
