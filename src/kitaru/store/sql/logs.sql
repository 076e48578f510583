-- name: append_log(exec_id, position, attempt, source, level, logger, message, module, filename, lineno, logged_at)*!
-- A captured line, unless its execution is unknown.
INSERT INTO log_line (
    execution_id, position, attempt, source, level, logger, message, module, filename, lineno, logged_at
)
SELECT
    execution.id, :position, :attempt, :source, :level, :logger, :message, :module, :filename, :lineno, :logged_at
FROM execution
WHERE execution.id = :exec_id;

-- name: append_event(exec_id, kind, position, payload, created_at)*!
-- A fact for watchers, unless its execution is unknown.
INSERT INTO event (execution_id, kind, position, payload, created_at)
SELECT execution.id, :kind, :position, :payload, :created_at
FROM execution
WHERE execution.id = :exec_id;

-- name: list_events(exec_id, after, limit)
-- Events after a cursor.
SELECT seq, kind, position, payload, created_at
FROM event
WHERE execution_id = :exec_id AND seq > :after
ORDER BY seq
LIMIT :limit;
