-- name: list_logs(exec_id, after, positions, limit)
-- Captured lines after a cursor; `positions` is a JSON list, or NULL for all.
SELECT
    seq, execution_id, position, attempt, source, level, logger, message, module, filename, lineno, logged_at
FROM log_line
WHERE execution_id = :exec_id
    AND seq > :after
    AND (
        CAST(:positions AS TEXT) IS NULL
        OR position = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:positions AS JSONB))))
    )
ORDER BY seq
LIMIT :limit;
