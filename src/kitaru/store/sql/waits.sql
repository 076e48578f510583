-- Whoever ends, parks or wakes an execution has locked its row before looking at the waits (`waits.py`).

-- name: record_wait(exec_id, position, wait_id, name, kind, status, question, schema, metadata, wake_at, child_id, asked_by, problem, created_at, answer, resolved_at, resolved_by, resolved_via)!
-- A wait in place of what its position had. What someone has said, or time has, is not lost when the flow asks
-- again; that a child had ended says nothing about it once it was retried.
INSERT INTO wait (
    execution_id, position, wait_id, name, kind, status, question, schema, metadata, wake_at, child_id,
    asked_by, problem, created_at, answer, resolved_at, resolved_by, resolved_via
)
VALUES (
    :exec_id, :position, :wait_id, :name, :kind, :status, :question, :schema, :metadata, :wake_at, :child_id,
    :asked_by, :problem, :created_at, :answer, :resolved_at, :resolved_by, :resolved_via
)
ON CONFLICT (execution_id, position) DO UPDATE
SET
    wait_id = excluded.wait_id,
    name = excluded.name,
    kind = excluded.kind,
    status = excluded.status,
    question = excluded.question,
    schema = excluded.schema,
    metadata = excluded.metadata,
    wake_at = excluded.wake_at,
    child_id = excluded.child_id,
    asked_by = excluded.asked_by,
    problem = excluded.problem,
    created_at = CASE WHEN wait.status = 'open' THEN wait.created_at ELSE excluded.created_at END,
    answer = excluded.answer,
    resolved_at = excluded.resolved_at,
    resolved_by = excluded.resolved_by,
    resolved_via = excluded.resolved_via
WHERE wait.status IN ('open', 'closed') OR excluded.problem IS NOT NULL OR excluded.kind = 'child';

-- name: get_end(exec_id)
-- Whether, and when, an execution that is waited for has ended.
SELECT ended_at
FROM execution
WHERE id = :exec_id;

-- name: wake_unless_open(exec_id, position)*!
-- Let an execution that has just been parked go on if what it waits for is over.
UPDATE execution
SET
    status = 'pending',
    status_reason = NULL,
    runnable_at = coalesce(
        (
            SELECT wait.resolved_at
            FROM wait
            WHERE wait.execution_id = execution.id AND wait.position = :position
        ),
        started_at
    )
WHERE id = :exec_id
    AND status = 'waiting'
    AND NOT EXISTS (
        SELECT 1
        FROM wait
        WHERE wait.execution_id = execution.id AND wait.position = :position AND wait.status = 'open'
    );

-- name: wake(now, exec_id)*!
-- Let a parked execution go on.
UPDATE execution
SET status = 'pending', status_reason = NULL, runnable_at = :now
WHERE id = :exec_id AND status = 'waiting';

-- name: has_waits_to_end(exec_id)
-- Whether the end of this execution ends any wait; most have none, and reading costs less than writing nothing.
SELECT 1 FROM wait WHERE execution_id = :exec_id AND status = 'open'
UNION ALL
SELECT 1 FROM wait WHERE child_id = :exec_id AND status = 'open'
LIMIT 1;

-- name: close_waits(exec_id)*!
-- Nobody needs to answer an execution that has ended.
UPDATE wait
SET
    status = 'closed',
    resolved_at = (SELECT execution.ended_at FROM execution WHERE execution.id = wait.execution_id)
WHERE execution_id = :exec_id AND status = 'open';

-- name: find_waiting_for(exec_id)
-- Whose wait the end of an execution ends.
SELECT execution_id
FROM wait
WHERE child_id = :exec_id AND status = 'open';

-- name: answer_child_waits(exec_id)
-- An execution that has ended is what others may have waited for.
UPDATE wait
SET
    status = 'answered',
    resolved_at = (SELECT execution.ended_at FROM execution WHERE execution.id = wait.child_id)
WHERE child_id = :exec_id AND status = 'open'
RETURNING resolved_at, execution_id;

-- name: reopen_wait(exec_id, position)!
-- Ask again what a reopened call had asked; a timer keeps its moment, and a child that has ended has ended.
UPDATE wait
SET
    status = 'open', answer = NULL, problem = NULL, resolved_at = NULL, resolved_by = NULL, resolved_via = NULL,
    wake_at = CASE WHEN kind = 'timer' THEN wake_at END
WHERE execution_id = :exec_id
    AND position = :position
    AND (
        kind <> 'child'
        OR EXISTS (
            SELECT 1
            FROM execution AS child
            WHERE child.id = wait.child_id AND child.status IN ('pending', 'running', 'waiting')
        )
    );

-- name: find_wait(exec_id, position)
-- One wait.
SELECT
    execution_id, position, wait_id, name, kind, status, question, schema, metadata, wake_at, child_id,
    asked_by, problem, created_at, answer, resolved_at, resolved_by, resolved_via
FROM wait
WHERE execution_id = :exec_id AND position = :position;

-- name: list_open_waits(project, created_at, exec_id, position, limit)
-- Open questions after a key, oldest first; in SQLite, CROSS JOIN keeps the order in which tables are named.
SELECT
    wait.execution_id, wait.position, wait.wait_id, wait.name, wait.kind, wait.status, wait.question,
    wait.schema, wait.metadata, wait.wake_at, wait.child_id, wait.asked_by, wait.problem, wait.created_at,
    wait.answer, wait.resolved_at, wait.resolved_by, wait.resolved_via
FROM wait
CROSS JOIN execution
WHERE wait.status = 'open'
    AND wait.kind = 'input'
    AND execution.id = wait.execution_id
    AND execution.project = :project
    AND (wait.created_at, wait.execution_id, wait.position) > (:created_at, :exec_id, :position)
ORDER BY wait.created_at, wait.execution_id, wait.position
LIMIT :limit;

-- name: resolve_wait(status, answer, now, resolved_by, resolved_via, exec_id, position)
-- Answer or abort an open question; the first one wins.
UPDATE wait
SET
    status = :status,
    answer = :answer,
    resolved_at = :now,
    resolved_by = :resolved_by,
    resolved_via = :resolved_via
WHERE execution_id = :exec_id AND position = :position AND status = 'open' AND kind = 'input'
RETURNING
    execution_id, position, wait_id, name, kind, status, question, schema, metadata, wake_at, child_id,
    asked_by, problem, created_at, answer, resolved_at, resolved_by, resolved_via;
