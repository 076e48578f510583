-- name: find_duplicate_call_ids()
-- `call_id` is unique per execution; an index to enforce that would cost every checkpoint a page.
SELECT execution_id, call_id, count(*)
FROM call
GROUP BY execution_id, call_id
HAVING count(*) > 1;

-- name: find_calls_from_the_future()
-- A call's epoch is one that its execution has had.
SELECT call.execution_id, call.position, call.epoch
FROM call
INNER JOIN execution ON execution.id = call.execution_id
WHERE call.epoch > execution.epoch;

-- name: find_parent_cycles()
-- An execution is older than its children; two that are each other's ancestors cannot both be.
SELECT execution.id
FROM execution
INNER JOIN execution AS parent ON parent.id = execution.parent_id
WHERE execution.id = parent.id OR parent.parent_id = execution.id;

-- name: find_waits_of_the_finished()
-- An execution that has ended waits for nothing.
SELECT wait.execution_id, wait.wait_id, execution.status
FROM wait
INNER JOIN execution ON execution.id = wait.execution_id
WHERE wait.status = 'open' AND execution.ended_at IS NOT NULL;

-- name: find_waits_for_the_finished()
-- The end of a child ends every wait for it.
SELECT wait.execution_id, wait.wait_id, wait.child_id
FROM wait
LEFT OUTER JOIN execution AS child ON child.id = wait.child_id
WHERE wait.status = 'open' AND wait.kind = 'child' AND (child.id IS NULL OR child.ended_at IS NOT NULL);

-- name: find_waiting_for_nothing()
-- What nobody and nothing will ever wake.
SELECT execution.id
FROM execution
WHERE execution.status = 'waiting'
    AND NOT EXISTS (
        SELECT 1
        FROM wait
        WHERE wait.execution_id = execution.id AND wait.status = 'open'
    );

-- name: list_blob_digests()
-- Every blob that some row names.
SELECT inputs_digest FROM execution WHERE inputs_digest IS NOT NULL
UNION
SELECT result_digest FROM execution WHERE result_digest IS NOT NULL
UNION
SELECT inputs_digest FROM call WHERE inputs_digest IS NOT NULL
UNION
SELECT output_digest FROM call WHERE output_digest IS NOT NULL
UNION
SELECT value_digest FROM artifact WHERE value_digest IS NOT NULL;
