-- name: next_flow(project, flow)
-- The next project and flow that have executions, in order.
SELECT project, flow
FROM execution
WHERE (project, flow) > (:project, :flow)
ORDER BY project, flow
LIMIT 1;

-- name: list_finished(project, flow, status, beyond_at, beyond_id, at, id, limit)
-- Executions of one flow and status between two keys, oldest first, whoever started them.
SELECT id, created_at, ended_at, parent_id
FROM execution
WHERE project = :project
    AND flow = :flow
    AND status = :status
    AND (created_at, id) > (:at, :id)
    AND (created_at, id) < (:beyond_at, :beyond_id)
ORDER BY created_at, id
LIMIT :limit;

-- name: list_newest_roots(project, flow, status, keep)
-- The newest executions of one flow and status that nobody else has started.
SELECT created_at, id
FROM execution
WHERE project = :project AND flow = :flow AND status = :status AND parent_id IS NULL
ORDER BY created_at DESC, id DESC
LIMIT :keep;

-- name: find_root(exec_id)
-- What decides whether an execution may still be pruned.
SELECT project, flow, status, ended_at
FROM execution
WHERE id = :exec_id AND parent_id IS NULL;

-- name: count_call_rows(exec_id, most)
-- How many rows of a tree can only go all at once; counted no further than to `most`.
WITH RECURSIVE tree (id) AS (
    SELECT CAST(:exec_id AS TEXT)
    UNION
    SELECT child.id
    FROM tree
    INNER JOIN execution AS child ON child.parent_id = tree.id
),
found (one) AS (
    SELECT 1 FROM tree
    UNION ALL
    SELECT 1 FROM tree CROSS JOIN call ON call.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree CROSS JOIN attempt ON attempt.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree CROSS JOIN artifact ON artifact.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree CROSS JOIN metadata ON metadata.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree CROSS JOIN wait ON wait.execution_id = tree.id
)
SELECT count(*) FROM (SELECT one FROM found LIMIT :most);

-- name: count_told_rows(exec_id, most)
-- How many log lines and events a tree has; counted no further than to `most`.
WITH RECURSIVE tree (id) AS (
    SELECT CAST(:exec_id AS TEXT)
    UNION
    SELECT child.id
    FROM tree
    INNER JOIN execution AS child ON child.parent_id = tree.id
),
found (one) AS (
    SELECT 1 FROM tree CROSS JOIN log_line ON log_line.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree CROSS JOIN event ON event.execution_id = tree.id
)
SELECT count(*) FROM (SELECT one FROM found LIMIT :most);

-- name: trim_logs(exec_id, most)!
-- Forget some of a tree's log lines.
DELETE FROM log_line
WHERE seq IN (
    WITH RECURSIVE tree (id) AS (
        SELECT CAST(:exec_id AS TEXT)
        UNION
        SELECT child.id
        FROM tree
        INNER JOIN execution AS child ON child.parent_id = tree.id
    )
    SELECT told.seq
    FROM tree
    CROSS JOIN log_line AS told ON told.execution_id = tree.id
    LIMIT :most
);

-- name: trim_events(exec_id, most)!
-- Forget some of a tree's events.
DELETE FROM event
WHERE seq IN (
    WITH RECURSIVE tree (id) AS (
        SELECT CAST(:exec_id AS TEXT)
        UNION
        SELECT child.id
        FROM tree
        INNER JOIN execution AS child ON child.parent_id = tree.id
    )
    SELECT told.seq
    FROM tree
    CROSS JOIN event AS told ON told.execution_id = tree.id
    LIMIT :most
);

-- name: find_oldest_start()
-- Since when something has been running that may have put blobs which no row names yet.
SELECT min(coalesce(started_at, created_at))
FROM execution
WHERE status = 'running';
