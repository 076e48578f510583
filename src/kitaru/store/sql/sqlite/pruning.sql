-- Lists come as one JSON text, because SQLite has no arrays.

-- name: measure_trees(exec_ids)
-- How many executions the trees of these have, and how much their values take, in rows and as blobs.
WITH RECURSIVE tree (id) AS (
    SELECT value FROM json_each(:exec_ids)
    UNION
    SELECT child.id
    FROM tree
    INNER JOIN execution AS child ON child.parent_id = tree.id
),
kept (members, digest, size) AS (
    SELECT 1, inputs_digest, inputs_size FROM tree INNER JOIN execution ON execution.id = tree.id
    UNION ALL
    SELECT 0, result_digest, result_size FROM tree INNER JOIN execution ON execution.id = tree.id
    UNION ALL
    SELECT 0, inputs_digest, inputs_size FROM tree CROSS JOIN call ON call.execution_id = tree.id
    UNION ALL
    SELECT 0, output_digest, output_size FROM tree CROSS JOIN call ON call.execution_id = tree.id
    UNION ALL
    SELECT 0, value_digest, value_size FROM tree CROSS JOIN artifact ON artifact.execution_id = tree.id
)
SELECT
    coalesce(sum(members), 0),
    coalesce(sum(CASE WHEN digest IS NULL THEN size END), 0),
    coalesce(sum(CASE WHEN digest IS NOT NULL THEN size END), 0)
FROM kept;

-- name: list_unnamed_blobs(digests)
-- Which of these blobs no row names; each digest is looked up in five small indexes.
SELECT asked.value
FROM json_each(:digests) AS asked
WHERE NOT EXISTS (SELECT 1 FROM execution WHERE inputs_digest = asked.value)
    AND NOT EXISTS (SELECT 1 FROM execution WHERE result_digest = asked.value)
    AND NOT EXISTS (SELECT 1 FROM call WHERE inputs_digest = asked.value)
    AND NOT EXISTS (SELECT 1 FROM call WHERE output_digest = asked.value)
    AND NOT EXISTS (SELECT 1 FROM artifact WHERE value_digest = asked.value);
