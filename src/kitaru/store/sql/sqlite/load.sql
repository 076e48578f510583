-- name: count_due(now, at_most)
-- How many pending executions could be claimed now.
SELECT count(*)
FROM (
    SELECT 1 FROM execution INDEXED BY execution_pending
    WHERE status = 'pending' AND held_at IS NULL AND runnable_at <= :now
    LIMIT :at_most
) AS due;
