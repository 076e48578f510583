-- name: announce_worker(owner, project, stack, code_keys, concurrency, running, started_at, seen_at)!
-- Say that a worker is there.
INSERT INTO worker (owner, project, stack, code_keys, concurrency, running, started_at, seen_at)
VALUES (:owner, :project, :stack, :code_keys, :concurrency, :running, :started_at, :seen_at)
ON CONFLICT (owner) DO UPDATE
SET
    project = excluded.project,
    stack = excluded.stack,
    code_keys = excluded.code_keys,
    concurrency = excluded.concurrency,
    running = excluded.running,
    seen_at = excluded.seen_at;

-- name: list_workers()
-- Which workers there are, the oldest first.
SELECT owner, project, stack, code_keys, concurrency, running, started_at, seen_at
FROM worker
ORDER BY started_at, owner;

-- name: forget_worker(owner)*!
-- A worker that has left.
DELETE FROM worker WHERE owner = :owner;

-- name: reserve_launch(now, pause, exec_id)!
-- One execution whose answer or moment has just come, for whoever is to start a process for it.
UPDATE execution
SET launches = launches + 1, launch_after = :now + :pause * CASE WHEN launches < 6 THEN 1 << launches ELSE 64 END
WHERE id = :exec_id AND status = 'pending' AND (launch_after IS NULL OR launch_after <= :now);

-- name: hasten_launch(now, exec_id)!
-- The process that was started for it has been killed before it could claim it; a few times that is bad luck.
UPDATE execution
SET launch_after = :now
WHERE id = :exec_id AND status = 'pending' AND launches < 5 AND launch_after > :now;
