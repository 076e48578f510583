-- name: has_tag()
-- Condition of `listing.py`: one of the tags is the argument.
EXISTS (SELECT 1 FROM jsonb_array_elements_text(CAST(execution.tags AS JSONB)) AS tag WHERE tag = ?);

-- name: get_statuses(exec_ids)
-- Where executions stand; `exec_ids` is a JSON list.
SELECT id, status
FROM execution
WHERE id = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:exec_ids AS JSONB))));

-- name: lock_executions(exec_ids)
-- Keep others from changing these rows; always in the same order.
SELECT id
FROM execution
WHERE id = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:exec_ids AS JSONB))))
ORDER BY id
FOR NO KEY UPDATE;

-- name: serialize(key)
-- Let one transaction after the other pass here. Two keys of one hash only wait for each other.
SELECT pg_advisory_xact_lock(hashtextextended(:key, 0));

-- name: get_parent(parent_id)
-- What decides whether a child may be created; it stays so until the child is there.
SELECT status, epoch, cancel_requested_at
FROM execution
WHERE id = :parent_id
FOR NO KEY UPDATE;

-- name: find_origin(exec_id)
-- What a replay is made of; it stays until the replay is there.
SELECT status
FROM execution
WHERE id = :exec_id
FOR KEY SHARE;

-- name: cancel_tree(now, requested_by, exec_id)
-- End what nobody runs, ask the others; a request that is already there stays as it is.
WITH concerned AS MATERIALIZED (
    SELECT id
    FROM execution
    WHERE status IN ('pending', 'running', 'waiting')
        AND cancel_requested_at IS NULL
        AND id IN (
            WITH RECURSIVE tree (id) AS (
                SELECT CAST(:exec_id AS TEXT) COLLATE "C"
                UNION
                SELECT child.id
                FROM tree
                INNER JOIN execution AS child ON child.parent_id = tree.id
            )
            SELECT tree.id FROM tree
        )
    ORDER BY id
    FOR NO KEY UPDATE
)
UPDATE execution
SET
    cancel_requested_at = :now,
    cancel_requested_by = :requested_by,
    ended_at = CASE WHEN status = 'running' THEN NULL ELSE CAST(:now AS BIGINT) END,
    status_reason = CASE WHEN status = 'running' THEN status_reason END,
    held_at = NULL,
    status = CASE WHEN status = 'running' THEN 'running' ELSE 'cancelled' END
FROM concerned
WHERE execution.id = concerned.id
RETURNING execution.id, execution.ended_at;

-- name: lock_family(exec_id)
-- Let nobody go on with, replay or start anything in a family before this transaction ends.
SELECT id
FROM execution
WHERE id IN (
    WITH RECURSIVE tree (id) AS (
        SELECT CAST(:exec_id AS TEXT) COLLATE "C"
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
    )
    SELECT tree.id FROM tree
    UNION
    SELECT ancestor.id FROM ancestor
)
ORDER BY id
FOR UPDATE;

-- name: find_unfinished_in_tree(exec_id)
-- Which of an execution and its descendants keep it from being deleted.
WITH RECURSIVE tree (id) AS (
    SELECT CAST(:exec_id AS TEXT) COLLATE "C"
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

-- name: find_unfinished_replay(exec_id)
-- Which replay may still read an execution's journal, or ask for the results of what it and its ancestors started.
WITH RECURSIVE tree (id) AS (
    SELECT CAST(:exec_id AS TEXT) COLLATE "C"
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
INNER JOIN execution AS replay ON replay.origin_id = member.id
WHERE replay.status IN ('pending', 'running', 'waiting')
ORDER BY replay.created_at, replay.id
LIMIT 1;

-- name: delete_tree(exec_id)!
-- Remove an execution and its descendants; their journals and logs go with them.
DELETE FROM execution
WHERE id IN (
    WITH RECURSIVE tree (id) AS (
        SELECT CAST(:exec_id AS TEXT) COLLATE "C"
        UNION
        SELECT child.id
        FROM tree
        INNER JOIN execution AS child ON child.parent_id = tree.id
    )
    SELECT tree.id FROM tree
);
