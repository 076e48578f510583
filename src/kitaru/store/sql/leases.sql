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
