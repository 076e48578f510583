-- name: is_anything_to_launch(now, due, stack, seen_since)
-- Whether it is worth asking for the right to write.
SELECT 1
FROM execution INDEXED BY execution_pending
WHERE status = 'pending'
    AND held_at IS NULL
    AND runnable_at <= :due
    AND (launch_after IS NULL OR launch_after <= :now)
    AND stack = :stack
    AND NOT EXISTS (
        SELECT 1
        FROM worker
        WHERE worker.seen_at >= :seen_since
            AND worker.project = execution.project
            AND worker.stack = execution.stack
            AND (
                worker.code_refs IS NULL
                OR execution.code_ref IN (SELECT value FROM json_each(worker.code_refs))
            )
    )
LIMIT 1;

-- name: reserve_launches(now, due, stack, seen_since, pause, limit)
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
        AND stack = :stack
        AND NOT EXISTS (
            SELECT 1
            FROM worker
            WHERE worker.seen_at >= :seen_since
                AND worker.project = execution.project
                AND worker.stack = execution.stack
                AND (
                    worker.code_refs IS NULL
                    OR execution.code_ref IN (SELECT value FROM json_each(worker.code_refs))
                )
        )
    ORDER BY runnable_at, id
    LIMIT :limit
)
RETURNING runnable_at, id;
