-- Lists of ids come as one JSON text, because SQLite has no arrays. The index is named where the planner,
-- which keeps no statistics here, would take the one by status and sort everything that is pending.

-- name: is_anything_claimable(now, project, stack, code_keys, besides)
-- Whether it is worth asking for the right to write.
SELECT 1
FROM execution INDEXED BY execution_pending
WHERE status = 'pending'
    AND held_at IS NULL
    AND runnable_at <= :now
    AND (:project IS NULL OR project = :project)
    AND (:stack IS NULL OR stack = :stack)
    AND (:code_keys IS NULL OR code_root || '|' || code_ref IN (SELECT value FROM json_each(:code_keys)))
    AND id NOT IN (SELECT value FROM json_each(:besides))
LIMIT 1;

-- name: claim_executions(owner, lease_expires_at, now, project, stack, code_keys, besides, limit)
-- The only door to `running`.
UPDATE execution
SET
    status = 'running',
    epoch = epoch + 1,
    lease_owner = :owner,
    lease_expires_at = :lease_expires_at,
    started_at = coalesce(started_at, :now),
    status_reason = NULL,
    launches = 0,
    launch_after = NULL
WHERE id IN (
    SELECT id
    FROM execution INDEXED BY execution_pending
    WHERE status = 'pending'
        AND held_at IS NULL
        AND runnable_at <= :now
        AND (:project IS NULL OR project = :project)
        AND (:stack IS NULL OR stack = :stack)
        AND (:code_keys IS NULL OR code_root || '|' || code_ref IN (SELECT value FROM json_each(:code_keys)))
        AND id NOT IN (SELECT value FROM json_each(:besides))
    ORDER BY runnable_at, id
    LIMIT :limit
)
RETURNING
    id, project, flow, code_ref, code_root, code_hash, status, epoch, lease_owner, lease_expires_at,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    result_codec, result_data, result_digest, result_size,
    failure, stack, spec, tags, parent_id, parent_position, idempotency_key,
    cancel_requested_at, cancel_requested_by, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, ended_at, status_reason, origin_id, replay_plan,
    held_at, launches;

-- name: claim_by_id(owner, lease_expires_at, now, exec_ids, limit)
-- The same door for executions that someone asks for by name: those that are held or delayed, too.
UPDATE execution
SET
    status = 'running',
    epoch = epoch + 1,
    lease_owner = :owner,
    lease_expires_at = :lease_expires_at,
    started_at = coalesce(started_at, :now),
    status_reason = NULL,
    held_at = NULL,
    launches = 0,
    launch_after = NULL
WHERE id IN (
    SELECT id
    FROM execution
    WHERE id IN (SELECT value FROM json_each(:exec_ids)) AND status = 'pending'
    ORDER BY runnable_at, id
    LIMIT :limit
)
RETURNING
    id, project, flow, code_ref, code_root, code_hash, status, epoch, lease_owner, lease_expires_at,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    result_codec, result_data, result_digest, result_size,
    failure, stack, spec, tags, parent_id, parent_position, idempotency_key,
    cancel_requested_at, cancel_requested_by, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, ended_at, status_reason, origin_id, replay_plan,
    held_at, launches;

-- name: renew_leases(lease_expires_at, owner, leases)
-- Push the expiry of those leases, given as pairs of id and epoch, that this owner still has. A renewal that was
-- long on its way does not take back what a later one has given.
UPDATE execution
SET lease_expires_at = max(lease_expires_at, :lease_expires_at)
WHERE status = 'running'
    AND lease_owner = :owner
    AND (id, epoch) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:leases)
    )
RETURNING id, epoch, cancel_requested_at;

-- name: reap_executions(now, expired_before, dead_owners, exec_ids, spared, limit)
-- Take back what was lost: to be continued, or ended if that was asked for or has failed too often.
UPDATE execution
SET
    lease_owner = NULL,
    lease_expires_at = NULL,
    recoveries = recoveries + 1,
    runnable_at = CASE
        WHEN cancel_requested_at IS NULL AND recoveries < max_recoveries THEN :now ELSE runnable_at
    END,
    status = CASE
        WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
        WHEN recoveries < max_recoveries THEN 'pending'
        ELSE 'failed'
    END,
    ended_at = CASE
        WHEN cancel_requested_at IS NULL AND recoveries < max_recoveries THEN NULL ELSE :now
    END,
    status_reason = CASE
        WHEN cancel_requested_at IS NOT NULL THEN NULL
        WHEN recoveries < max_recoveries THEN 'its runner was lost'
        ELSE 'its runner was lost ' || (recoveries + 1) || ' times, more often than `max_recoveries` ('
            || max_recoveries || ') allows'
    END
WHERE id IN (
    SELECT id
    FROM execution
    WHERE status = 'running'
        AND id NOT IN (SELECT value FROM json_each(:spared))
        AND (lease_expires_at < :expired_before OR lease_owner IN (SELECT value FROM json_each(:dead_owners)))
        AND (:exec_ids IS NULL OR id IN (SELECT value FROM json_each(:exec_ids)))
    LIMIT :limit
)
RETURNING
    id, project, flow, code_ref, code_root, code_hash, status, epoch, lease_owner, lease_expires_at,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    result_codec, result_data, result_digest, result_size,
    failure, stack, spec, tags, parent_id, parent_position, idempotency_key,
    cancel_requested_at, cancel_requested_by, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, ended_at, status_reason, origin_id, replay_plan,
    held_at, launches;

-- name: find_pending_ids(now, limit)
-- What a claim would win now.
SELECT id
FROM execution INDEXED BY execution_pending
WHERE status = 'pending' AND held_at IS NULL AND runnable_at <= :now
ORDER BY runnable_at, id
LIMIT :limit;

-- name: find_pending_by_id(now, exec_ids, limit)
-- Which of these a claim would win now.
SELECT id
FROM execution
WHERE id IN (SELECT value FROM json_each(:exec_ids))
    AND status = 'pending'
    AND held_at IS NULL
    AND runnable_at <= :now
ORDER BY runnable_at, id
LIMIT :limit;

-- name: list_pending_code(now, project, stack)
-- Whose code is wanted.
SELECT DISTINCT code_root, code_ref
FROM execution INDEXED BY execution_pending
WHERE status = 'pending'
    AND held_at IS NULL
    AND runnable_at <= :now
    AND project = :project
    AND stack = :stack;
