-- Lists of ids come as one JSON text, as in every dialect. Candidates are found and locked first, so that two
-- who ask at once get different ones, and so that whoever locks several locks them in the same order.

-- name: is_anything_claimable(now, project, stack, code_keys, besides)
-- Whether it is worth asking for the right to write.
SELECT 1
FROM execution
WHERE status = 'pending'
    AND held_at IS NULL
    AND runnable_at <= :now
    AND (CAST(:project AS TEXT) IS NULL OR project = :project)
    AND (CAST(:stack AS TEXT) IS NULL OR stack = :stack)
    AND (
        CAST(:code_keys AS TEXT) IS NULL
        OR code_root || '|' || code_ref = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:code_keys AS JSONB))))
    )
    AND id <> ALL(ARRAY(SELECT jsonb_array_elements_text(CAST(:besides AS JSONB))))
LIMIT 1;

-- name: claim_executions(owner, lease_expires_at, now, project, stack, code_keys, besides, limit)
-- The only door to `running`.
WITH candidate AS MATERIALIZED (
    SELECT id
    FROM execution
    WHERE status = 'pending'
        AND held_at IS NULL
        AND runnable_at <= :now
        AND (CAST(:project AS TEXT) IS NULL OR project = :project)
        AND (CAST(:stack AS TEXT) IS NULL OR stack = :stack)
        AND (
            CAST(:code_keys AS TEXT) IS NULL
            OR code_root || '|' || code_ref = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:code_keys AS JSONB))))
        )
        AND id <> ALL(ARRAY(SELECT jsonb_array_elements_text(CAST(:besides AS JSONB))))
    ORDER BY runnable_at, id
    LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE execution
SET
    status = 'running',
    epoch = execution.epoch + 1,
    lease_owner = :owner,
    lease_expires_at = :lease_expires_at,
    started_at = coalesce(execution.started_at, :now),
    status_reason = NULL,
    launches = 0,
    launch_after = NULL
FROM candidate
WHERE execution.id = candidate.id
RETURNING
    execution.id, execution.project, execution.flow, execution.code_ref, execution.code_root,
    execution.code_hash, execution.status, execution.epoch, execution.lease_owner, execution.lease_expires_at,
    execution.inputs_codec, execution.inputs_data, execution.inputs_digest, execution.inputs_size,
    execution.result_codec, execution.result_data, execution.result_digest, execution.result_size,
    execution.failure, execution.stack, execution.spec, execution.tags, execution.parent_id,
    execution.parent_position, execution.idempotency_key,
    execution.cancel_requested_at, execution.cancel_requested_by, execution.recoveries,
    execution.max_recoveries, execution.retries_left,
    execution.runnable_at, execution.created_at, execution.started_at, execution.ended_at,
    execution.status_reason, execution.origin_id, execution.replay_plan,
    execution.held_at, execution.launches;

-- name: claim_by_id(owner, lease_expires_at, now, exec_ids, limit)
-- The same door for executions that someone asks for by name: those that are held or delayed, too.
WITH candidate AS MATERIALIZED (
    SELECT id
    FROM execution
    WHERE id = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:exec_ids AS JSONB)))) AND status = 'pending'
    ORDER BY runnable_at, id
    LIMIT :limit
    FOR NO KEY UPDATE
)
UPDATE execution
SET
    status = 'running',
    epoch = execution.epoch + 1,
    lease_owner = :owner,
    lease_expires_at = :lease_expires_at,
    started_at = coalesce(execution.started_at, :now),
    status_reason = NULL,
    held_at = NULL,
    launches = 0,
    launch_after = NULL
FROM candidate
WHERE execution.id = candidate.id
RETURNING
    execution.id, execution.project, execution.flow, execution.code_ref, execution.code_root,
    execution.code_hash, execution.status, execution.epoch, execution.lease_owner, execution.lease_expires_at,
    execution.inputs_codec, execution.inputs_data, execution.inputs_digest, execution.inputs_size,
    execution.result_codec, execution.result_data, execution.result_digest, execution.result_size,
    execution.failure, execution.stack, execution.spec, execution.tags, execution.parent_id,
    execution.parent_position, execution.idempotency_key,
    execution.cancel_requested_at, execution.cancel_requested_by, execution.recoveries,
    execution.max_recoveries, execution.retries_left,
    execution.runnable_at, execution.created_at, execution.started_at, execution.ended_at,
    execution.status_reason, execution.origin_id, execution.replay_plan,
    execution.held_at, execution.launches;

-- name: renew_leases(lease_expires_at, owner, leases)
-- Push the expiry of those leases, given as pairs of id and epoch, that this owner still has. A renewal that was
-- long on its way does not take back what a later one has given.
WITH held AS MATERIALIZED (
    SELECT execution.id
    FROM execution
    INNER JOIN jsonb_array_elements(CAST(:leases AS JSONB)) AS lease
        ON execution.id = lease ->> 0 AND execution.epoch = CAST(lease ->> 1 AS BIGINT)
    WHERE execution.status = 'running' AND execution.lease_owner = :owner
    ORDER BY execution.id
    FOR NO KEY UPDATE OF execution
)
UPDATE execution
SET lease_expires_at = greatest(execution.lease_expires_at, :lease_expires_at)
FROM held
WHERE execution.id = held.id
RETURNING execution.id, execution.epoch, execution.cancel_requested_at;

-- name: reap_executions(now, expired_before, dead_owners, exec_ids, spared, limit)
-- Take back what was lost: to be continued, or ended if that was asked for or has failed too often. A row that
-- is locked has a runner that writes just now.
WITH lost AS MATERIALIZED (
    SELECT id
    FROM execution
    WHERE status = 'running'
        AND id <> ALL(ARRAY(SELECT jsonb_array_elements_text(CAST(:spared AS JSONB))))
        AND (
            lease_expires_at < :expired_before
            OR lease_owner = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:dead_owners AS JSONB))))
        )
        AND (
            CAST(:exec_ids AS TEXT) IS NULL
            OR id = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:exec_ids AS JSONB))))
        )
    ORDER BY id
    LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
)
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
        WHEN cancel_requested_at IS NULL AND recoveries < max_recoveries THEN NULL ELSE CAST(:now AS BIGINT)
    END,
    status_reason = CASE
        WHEN cancel_requested_at IS NOT NULL THEN NULL
        WHEN recoveries < max_recoveries THEN 'its runner was lost'
        ELSE 'its runner was lost ' || (recoveries + 1) || ' times, more often than `max_recoveries` ('
            || max_recoveries || ') allows'
    END
FROM lost
WHERE execution.id = lost.id
RETURNING
    execution.id, execution.project, execution.flow, execution.code_ref, execution.code_root,
    execution.code_hash, execution.status, execution.epoch, execution.lease_owner, execution.lease_expires_at,
    execution.inputs_codec, execution.inputs_data, execution.inputs_digest, execution.inputs_size,
    execution.result_codec, execution.result_data, execution.result_digest, execution.result_size,
    execution.failure, execution.stack, execution.spec, execution.tags, execution.parent_id,
    execution.parent_position, execution.idempotency_key,
    execution.cancel_requested_at, execution.cancel_requested_by, execution.recoveries,
    execution.max_recoveries, execution.retries_left,
    execution.runnable_at, execution.created_at, execution.started_at, execution.ended_at,
    execution.status_reason, execution.origin_id, execution.replay_plan,
    execution.held_at, execution.launches;

-- name: find_pending_ids(now, limit)
-- What a claim would win now.
SELECT id
FROM execution
WHERE status = 'pending' AND held_at IS NULL AND runnable_at <= :now
ORDER BY runnable_at, id
LIMIT :limit;

-- name: find_pending_by_id(now, exec_ids, limit)
-- Which of these a claim would win now.
SELECT id
FROM execution
WHERE id = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:exec_ids AS JSONB))))
    AND status = 'pending'
    AND held_at IS NULL
    AND runnable_at <= :now
ORDER BY runnable_at, id
LIMIT :limit;

-- name: list_pending_code(now, project, stack)
-- Whose code is wanted.
SELECT DISTINCT code_root, code_ref
FROM execution
WHERE status = 'pending'
    AND held_at IS NULL
    AND runnable_at <= :now
    AND project = :project
    AND stack = :stack;
