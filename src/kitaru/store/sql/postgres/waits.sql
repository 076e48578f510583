-- name: list_waits(exec_id, positions)
-- What an execution waits or has waited for; `positions` is a JSON list, or NULL for all.
SELECT
    execution_id, position, wait_id, name, kind, status, question, schema, metadata, wake_at, child_id,
    asked_by, problem, created_at, answer, resolved_at, resolved_by, resolved_via
FROM wait
WHERE execution_id = :exec_id
    AND (
        CAST(:positions AS TEXT) IS NULL
        OR position = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:positions AS JSONB))))
    )
ORDER BY created_at, position;

-- name: is_anything_due(now, exec_ids, kind)
-- Whether it is worth asking for the right to write.
SELECT 1
FROM wait
WHERE status = 'open'
    AND wake_at <= :now
    AND (
        CAST(:exec_ids AS TEXT) IS NULL
        OR execution_id = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:exec_ids AS JSONB))))
    )
    AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
LIMIT 1;

-- name: find_due_waits(now, exec_ids, kind, limit)
-- Whose waits are over, the most overdue first.
SELECT execution_id
FROM wait
WHERE status = 'open'
    AND wake_at <= :now
    AND (
        CAST(:exec_ids AS TEXT) IS NULL
        OR execution_id = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:exec_ids AS JSONB))))
    )
    AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
ORDER BY wake_at, execution_id, position
LIMIT :limit;

-- name: end_due_waits(now, exec_ids, kind, limit)
-- End the waits whose moment has come, the most overdue first.
WITH due AS MATERIALIZED (
    SELECT execution_id, position
    FROM wait
    WHERE status = 'open'
        AND wake_at <= :now
        AND execution_id = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:exec_ids AS JSONB))))
        AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
    ORDER BY wake_at, execution_id, position
    LIMIT :limit
    FOR UPDATE
)
UPDATE wait
SET status = CASE WHEN wait.kind = 'timer' THEN 'answered' ELSE 'expired' END, resolved_at = :now
FROM due
WHERE wait.execution_id = due.execution_id AND wait.position = due.position
RETURNING wait.wake_at, wait.execution_id;

-- name: get_end(exec_id)
-- Whether, and when, an execution that is waited for has ended; it stays so until the wait is written.
SELECT ended_at
FROM execution
WHERE id = :exec_id
FOR SHARE;
