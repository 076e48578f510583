-- name: is_anything_to_launch(now, due, project, stack, seen_since, loading_since)
-- Whether it is worth asking for the right to write.
SELECT 1
FROM execution
WHERE status = 'pending'
    AND held_at IS NULL
    AND runnable_at <= :due
    AND (launch_after IS NULL OR launch_after <= :now)
    AND (CAST(:project AS TEXT) IS NULL OR project = :project)
    AND stack = :stack
    AND (execution.status_reason IS NOT DISTINCT FROM 'no code' OR NOT EXISTS (
        SELECT 1
        FROM worker
        WHERE worker.seen_at >= :seen_since
            AND worker.project = execution.project
            AND worker.stack = execution.stack
            AND EXISTS (
                SELECT 1
                FROM jsonb_array_elements_text(CAST(worker.code_keys AS JSONB)) AS code_key
                WHERE code_key = execution.code_root || '|' || execution.code_ref
                    OR (code_key = execution.code_root || '|*' AND execution.runnable_at > :loading_since)
            )
    ))
LIMIT 1;

-- name: reserve_launches(now, due, project, stack, most_launches, seen_since, loading_since, pause, limit)
-- Executions that nobody has taken up and no worker serves, for one attendant to start a process for; each
-- time none takes it, the next one waits twice as long.
WITH wanted AS MATERIALIZED (
    SELECT id
    FROM execution
    WHERE status = 'pending'
        AND held_at IS NULL
        AND runnable_at <= :due
        AND (launch_after IS NULL OR launch_after <= :now)
        AND (CAST(:project AS TEXT) IS NULL OR project = :project)
        AND stack = :stack
        AND launches <= :most_launches
        AND (execution.status_reason IS NOT DISTINCT FROM 'no code' OR NOT EXISTS (
            SELECT 1
            FROM worker
            WHERE worker.seen_at >= :seen_since
                AND worker.project = execution.project
                AND worker.stack = execution.stack
                AND EXISTS (
                    SELECT 1
                    FROM jsonb_array_elements_text(CAST(worker.code_keys AS JSONB)) AS code_key
                    WHERE code_key = execution.code_root || '|' || execution.code_ref
                        OR (code_key = execution.code_root || '|*' AND execution.runnable_at > :loading_since)
                )
        ))
    ORDER BY runnable_at, id
    LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE execution
SET launches = launches + 1, launch_after = :now + :pause * (1 << least(launches, 6))
FROM wanted
WHERE execution.id = wanted.id
RETURNING execution.runnable_at, execution.id;
