-- name: is_anything_reapable(now)
-- Whether a lease has run out.
SELECT 1
FROM execution
WHERE status = 'running' AND lease_expires_at < :now
LIMIT 1;

-- name: list_running()
-- All running executions, oldest first.
SELECT
    id, project, flow, code_ref, code_root, code_hash, status, epoch, lease_owner, lease_expires_at,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    result_codec, result_data, result_digest, result_size,
    failure, stack, spec, tags, parent_id, parent_position, idempotency_key,
    cancel_requested_at, cancel_requested_by, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, ended_at, status_reason, origin_id, replay_plan,
    held_at, launches
FROM execution
WHERE status = 'running'
ORDER BY created_at, id;

-- name: list_unfinished(limit)
-- Executions of any project that are not over, oldest first.
SELECT
    id, project, flow, code_ref, code_root, code_hash, status, epoch, lease_owner, lease_expires_at,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    result_codec, result_data, result_digest, result_size,
    failure, stack, spec, tags, parent_id, parent_position, idempotency_key,
    cancel_requested_at, cancel_requested_by, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, ended_at, status_reason, origin_id, replay_plan,
    held_at, launches
FROM execution
WHERE status IN ('pending', 'running', 'waiting')
ORDER BY created_at, id
LIMIT :limit;

-- name: list_lease_owners()
-- Who holds leases.
SELECT DISTINCT lease_owner
FROM execution
WHERE status = 'running';

-- name: announce_worker(owner, project, stack, code_refs, concurrency, running, started_at, seen_at)!
-- Say that a worker is there.
INSERT INTO worker (owner, project, stack, code_refs, concurrency, running, started_at, seen_at)
VALUES (:owner, :project, :stack, :code_refs, :concurrency, :running, :started_at, :seen_at)
ON CONFLICT (owner) DO UPDATE
SET
    project = excluded.project,
    stack = excluded.stack,
    code_refs = excluded.code_refs,
    concurrency = excluded.concurrency,
    running = excluded.running,
    seen_at = excluded.seen_at;

-- name: list_workers()
-- Which workers there are, the oldest first.
SELECT owner, project, stack, code_refs, concurrency, running, started_at, seen_at
FROM worker
ORDER BY started_at, owner;

-- name: forget_worker(owner)*!
-- A worker that has left.
DELETE FROM worker WHERE owner = :owner;
