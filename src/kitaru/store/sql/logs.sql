-- name: append_log(exec_id, position, attempt, source, level, logger, message, module, filename, lineno, logged_at)*!
-- A captured line, unless its execution is unknown.
INSERT INTO log_line (
    execution_id, position, attempt, source, level, logger, message, module, filename, lineno, logged_at
)
SELECT
    execution.id, :position, :attempt, :source, :level, :logger, :message, :module, :filename, :lineno, :logged_at
FROM execution
WHERE execution.id = :exec_id;

-- name: prune_events(exec_id, keep)!
-- Forget all but the newest events of an execution; what contradicts its record stays to be explained.
DELETE FROM event
WHERE execution_id = :exec_id
    AND kind <> 'divergence'
    AND seq < (
        SELECT min(newest.seq)
        FROM (SELECT seq FROM event WHERE execution_id = :exec_id ORDER BY seq DESC LIMIT :keep) AS newest
    );

-- name: list_events(exec_id, after, limit)
-- Events after a cursor.
SELECT seq, kind, position, payload, created_at
FROM event
WHERE execution_id = :exec_id AND seq > :after
ORDER BY seq
LIMIT :limit;
