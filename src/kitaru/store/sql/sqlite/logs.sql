-- name: list_logs(exec_id, after, positions, limit)
-- Captured lines after a cursor; `positions` is a JSON list, or NULL for all.
SELECT
    seq, execution_id, position, attempt, source, level, logger, message, module, filename, lineno, logged_at
FROM log_line
WHERE execution_id = :exec_id
    AND seq > :after
    AND (:positions IS NULL OR position IN (SELECT value FROM json_each(:positions)))
ORDER BY seq
LIMIT :limit;
