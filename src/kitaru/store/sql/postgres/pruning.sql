-- Lists come as one JSON text, as in every dialect.

-- name: measure_trees(exec_ids)
-- How many executions the trees of these have, and how much their values take, in rows and as blobs.
WITH RECURSIVE tree (id) AS (
    SELECT asked COLLATE "C" FROM jsonb_array_elements_text(CAST(:exec_ids AS JSONB)) AS asked
    UNION
    SELECT child.id
    FROM tree
    INNER JOIN execution AS child ON child.parent_id = tree.id
)
SELECT
    CAST(count(*) AS BIGINT),
    CAST(coalesce(sum(
        CASE WHEN inputs_digest IS NULL THEN inputs_size ELSE 0 END
        + CASE WHEN result_digest IS NULL THEN coalesce(result_size, 0) ELSE 0 END
        + calls.in_rows + saved.in_rows
    ), 0) AS BIGINT),
    CAST(coalesce(sum(
        CASE WHEN inputs_digest IS NOT NULL THEN inputs_size ELSE 0 END
        + CASE WHEN result_digest IS NOT NULL THEN coalesce(result_size, 0) ELSE 0 END
        + calls.in_blobs + saved.in_blobs
    ), 0) AS BIGINT)
FROM tree
INNER JOIN execution ON execution.id = tree.id
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(CASE WHEN inputs_digest IS NULL THEN inputs_size END), 0)
        + coalesce(sum(CASE WHEN output_digest IS NULL THEN output_size END), 0) AS in_rows,
        coalesce(sum(CASE WHEN inputs_digest IS NOT NULL THEN inputs_size END), 0)
        + coalesce(sum(CASE WHEN output_digest IS NOT NULL THEN output_size END), 0) AS in_blobs
    FROM call
    WHERE call.execution_id = tree.id
) AS calls
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(CASE WHEN value_digest IS NULL THEN value_size END), 0) AS in_rows,
        coalesce(sum(CASE WHEN value_digest IS NOT NULL THEN value_size END), 0) AS in_blobs
    FROM artifact
    WHERE artifact.execution_id = tree.id
) AS saved;

-- name: list_unnamed_blobs(digests)
-- Which of these blobs no row names; each digest is looked up in five small indexes.
SELECT asked.digest
FROM (
    SELECT value COLLATE "C" AS digest FROM jsonb_array_elements_text(CAST(:digests AS JSONB)) AS value
) AS asked
WHERE NOT EXISTS (SELECT 1 FROM execution WHERE inputs_digest = asked.digest)
    AND NOT EXISTS (SELECT 1 FROM execution WHERE result_digest = asked.digest)
    AND NOT EXISTS (SELECT 1 FROM call WHERE inputs_digest = asked.digest)
    AND NOT EXISTS (SELECT 1 FROM call WHERE output_digest = asked.digest)
    AND NOT EXISTS (SELECT 1 FROM artifact WHERE value_digest = asked.digest);

-- name: count_call_rows(exec_id, most)
-- How many rows of a tree can only go all at once; counted no further than to `most`.
WITH RECURSIVE tree (id) AS (
    SELECT CAST(:exec_id AS TEXT) COLLATE "C"
    UNION
    SELECT child.id
    FROM tree
    INNER JOIN execution AS child ON child.parent_id = tree.id
),
found (one) AS (
    SELECT 1 FROM tree
    UNION ALL
    SELECT 1 FROM tree INNER JOIN call ON call.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree INNER JOIN attempt ON attempt.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree INNER JOIN artifact ON artifact.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree INNER JOIN metadata ON metadata.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree INNER JOIN wait ON wait.execution_id = tree.id
)
SELECT count(*) FROM (SELECT one FROM found LIMIT :most) AS counted;

-- name: count_told_rows(exec_id, most)
-- How many log lines and events a tree has; counted no further than to `most`.
WITH RECURSIVE tree (id) AS (
    SELECT CAST(:exec_id AS TEXT) COLLATE "C"
    UNION
    SELECT child.id
    FROM tree
    INNER JOIN execution AS child ON child.parent_id = tree.id
),
found (one) AS (
    SELECT 1 FROM tree INNER JOIN log_line ON log_line.execution_id = tree.id
    UNION ALL
    SELECT 1 FROM tree INNER JOIN event ON event.execution_id = tree.id
)
SELECT count(*) FROM (SELECT one FROM found LIMIT :most) AS counted;

-- name: trim_logs(exec_id, most)!
-- Forget some of a tree's log lines.
DELETE FROM log_line
WHERE (execution_id, seq) IN (
    WITH RECURSIVE tree (id) AS (
        SELECT CAST(:exec_id AS TEXT) COLLATE "C"
        UNION
        SELECT child.id
        FROM tree
        INNER JOIN execution AS child ON child.parent_id = tree.id
    )
    SELECT told.execution_id, told.seq
    FROM tree
    INNER JOIN log_line AS told ON told.execution_id = tree.id
    LIMIT :most
);

-- name: trim_events(exec_id, most)!
-- Forget some of a tree's events.
DELETE FROM event
WHERE (execution_id, seq) IN (
    WITH RECURSIVE tree (id) AS (
        SELECT CAST(:exec_id AS TEXT) COLLATE "C"
        UNION
        SELECT child.id
        FROM tree
        INNER JOIN execution AS child ON child.parent_id = tree.id
    )
    SELECT told.execution_id, told.seq
    FROM tree
    INNER JOIN event AS told ON told.execution_id = tree.id
    LIMIT :most
);
