-- name: list_waits(exec_id, positions)
-- What an execution waits or has waited for; `positions` is a JSON list, or NULL for all.
SELECT
    execution_id, position, wait_id, name, kind, status, question, schema, metadata, wake_at, child_id,
    asked_by, problem, created_at, answer, resolved_at, resolved_by, resolved_via
FROM wait
WHERE execution_id = :exec_id
    AND (:positions IS NULL OR position IN (SELECT value FROM json_each(:positions)))
ORDER BY created_at, position;

-- name: is_anything_due(now, exec_ids, kind)
-- Whether it is worth asking for the right to write.
SELECT 1
FROM wait INDEXED BY wait_due
WHERE status = 'open'
    AND wake_at <= :now
    AND (:exec_ids IS NULL OR execution_id IN (SELECT value FROM json_each(:exec_ids)))
    AND (:kind IS NULL OR kind = :kind)
LIMIT 1;

-- name: find_due_waits(now, exec_ids, kind, limit)
-- Whose waits are over, the most overdue first.
SELECT execution_id
FROM wait INDEXED BY wait_due
WHERE status = 'open'
    AND wake_at <= :now
    AND (:exec_ids IS NULL OR execution_id IN (SELECT value FROM json_each(:exec_ids)))
    AND (:kind IS NULL OR kind = :kind)
ORDER BY wake_at, execution_id, position
LIMIT :limit;

-- name: end_due_waits(now, exec_ids, kind, limit)
-- End the waits whose moment has come, the most overdue first.
UPDATE wait
SET status = CASE WHEN kind = 'timer' THEN 'answered' ELSE 'expired' END, resolved_at = :now
WHERE (execution_id, position) IN (
    SELECT due.execution_id, due.position
    FROM wait AS due INDEXED BY wait_due
    WHERE due.status = 'open'
        AND due.wake_at <= :now
        AND (:exec_ids IS NULL OR due.execution_id IN (SELECT value FROM json_each(:exec_ids)))
        AND (:kind IS NULL OR due.kind = :kind)
    ORDER BY due.wake_at, due.execution_id, due.position
    LIMIT :limit
)
RETURNING wake_at, execution_id;
