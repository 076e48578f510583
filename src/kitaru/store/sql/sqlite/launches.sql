-- name: is_anything_to_launch(now, due, project, stack, seen_since, loading_since)
-- Whether it is worth asking for the right to write.
SELECT 1
FROM execution INDEXED BY execution_pending
WHERE status = 'pending'
    AND held_at IS NULL
    AND runnable_at <= :due
    AND (launch_after IS NULL OR launch_after <= :now)
    AND (:project IS NULL OR project = :project)
    AND stack = :stack
    AND (execution.status_reason IS 'no code' OR NOT EXISTS (
        SELECT 1
        FROM worker
        WHERE worker.seen_at >= :seen_since
            AND worker.project = execution.project
            AND worker.stack = execution.stack
            AND EXISTS (
                SELECT 1
                FROM json_each(worker.code_keys)
                WHERE value = execution.code_root || '|' || execution.code_ref
                    OR (value = execution.code_root || '|*' AND execution.runnable_at > :loading_since)
            )
    ))
LIMIT 1;

-- name: reserve_launches(now, due, project, stack, most_launches, seen_since, loading_since, pause, limit)
-- Executions that nobody has taken up and no worker serves, for one attendant to start a process for; each
-- time none takes it, the next one waits twice as long.
UPDATE execution
SET launches = launches + 1, launch_after = :now + :pause * (1 << min(launches, 6))
WHERE id IN (
    SELECT id
    FROM execution INDEXED BY execution_pending
    WHERE status = 'pending'
        AND held_at IS NULL
        AND runnable_at <= :due
        AND (launch_after IS NULL OR launch_after <= :now)
        AND (:project IS NULL OR project = :project)
        AND stack = :stack
        AND launches <= :most_launches
        AND (execution.status_reason IS 'no code' OR NOT EXISTS (
            SELECT 1
            FROM worker
            WHERE worker.seen_at >= :seen_since
                AND worker.project = execution.project
                AND worker.stack = execution.stack
                AND EXISTS (
                    SELECT 1
                    FROM json_each(worker.code_keys)
                    WHERE value = execution.code_root || '|' || execution.code_ref
                        OR (value = execution.code_root || '|*' AND execution.runnable_at > :loading_since)
                )
        ))
    ORDER BY runnable_at, id
    LIMIT :limit
)
RETURNING runnable_at, id;
