-- name: check_fence(exec_id, epoch)
-- Whether a claim still holds its execution; asked once for each entry, inside the transaction that writes.
SELECT cancel_requested_at
FROM execution
WHERE id = :exec_id AND epoch = :epoch AND status = 'running';

-- name: record_call(exec_id, position, call_id, name, kind, type, fingerprint, ordered, status, inputs_codec, inputs_data, inputs_digest, inputs_size, output_codec, output_data, output_digest, output_size, failure, upstreams, cache_key, cached_from, epoch, started_at, ended_at)*!
-- A journal row; it replaces one that holds no outcome.
INSERT INTO call (
    execution_id, position, call_id, name, kind, type, fingerprint, ordered, status,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    output_codec, output_data, output_digest, output_size,
    failure, upstreams, cache_key, cached_from, epoch, started_at, ended_at
)
VALUES (
    :exec_id, :position, :call_id, :name, :kind, :type, :fingerprint, :ordered, :status,
    :inputs_codec, :inputs_data, :inputs_digest, :inputs_size,
    :output_codec, :output_data, :output_digest, :output_size,
    :failure, :upstreams, :cache_key, :cached_from, :epoch, :started_at, :ended_at
)
ON CONFLICT (execution_id, position) DO UPDATE
SET
    call_id = excluded.call_id,
    name = excluded.name,
    kind = excluded.kind,
    type = excluded.type,
    fingerprint = excluded.fingerprint,
    ordered = excluded.ordered,
    status = excluded.status,
    inputs_codec = excluded.inputs_codec,
    inputs_data = excluded.inputs_data,
    inputs_digest = excluded.inputs_digest,
    inputs_size = excluded.inputs_size,
    output_codec = excluded.output_codec,
    output_data = excluded.output_data,
    output_digest = excluded.output_digest,
    output_size = excluded.output_size,
    failure = excluded.failure,
    upstreams = excluded.upstreams,
    cache_key = excluded.cache_key,
    cached_from = excluded.cached_from,
    epoch = excluded.epoch,
    started_at = excluded.started_at,
    ended_at = excluded.ended_at
WHERE call.status IN ('pending', 'running');

-- name: record_attempt(exec_id, position, number, status, started_at, ended_at, failure, next_at, most)*!
-- A failed attempt; one that is already there stays.
INSERT INTO attempt (execution_id, position, number, status, started_at, ended_at, failure, next_at, most)
VALUES (:exec_id, :position, :number, :status, :started_at, :ended_at, :failure, :next_at, :most)
ON CONFLICT (execution_id, position, number) DO NOTHING;

-- name: record_artifact(exec_id, artifact_id, position, attempt, name, kind, tags, value_codec, value_data, value_digest, value_size, attempt_failed, created_at)*!
-- A saved value; one that is already there stays.
INSERT INTO artifact (
    execution_id, id, position, attempt, name, kind, tags,
    value_codec, value_data, value_digest, value_size, attempt_failed, created_at
)
VALUES (
    :exec_id, :artifact_id, :position, :attempt, :name, :kind, :tags,
    :value_codec, :value_data, :value_digest, :value_size, :attempt_failed, :created_at
)
ON CONFLICT (execution_id, id) DO NOTHING;

-- name: record_metadata(exec_id, position, key, value)*!
-- A logged value; the last one under its key counts.
INSERT INTO metadata (execution_id, position, key, value)
VALUES (:exec_id, :position, :key, :value)
ON CONFLICT (execution_id, position, key) DO UPDATE SET value = excluded.value;

-- name: record_event(exec_id, kind, position, payload, created_at)*!
-- A fact for watchers.
INSERT INTO event (execution_id, kind, position, payload, created_at)
VALUES (:exec_id, :kind, :position, :payload, :created_at);

-- name: record_outcome(status, result_codec, result_data, result_digest, result_size, failure, reason, runnable_at, held_at, ended_at, spent_retries, ended_claim, exec_id, epoch)!
-- End a claim.
UPDATE execution
SET
    status = :status,
    result_codec = :result_codec,
    result_data = :result_data,
    result_digest = :result_digest,
    result_size = :result_size,
    failure = :failure,
    status_reason = :reason,
    runnable_at = coalesce(:runnable_at, runnable_at),
    held_at = :held_at,
    ended_at = CASE
        WHEN :status IN ('completed', 'failed', 'cancelled') THEN coalesce(:ended_at, cancel_requested_at)
    END,
    retries_left = retries_left - CASE WHEN retries_left > 0 THEN :spent_retries ELSE 0 END,
    ended_claim = :ended_claim,
    lease_owner = NULL,
    lease_expires_at = NULL
WHERE id = :exec_id AND epoch = :epoch AND status = 'running';

-- name: find_ended_claim(exec_id, ended_claim)
-- Whether it was this very runner that ended its claim, and so.
SELECT cancel_requested_at
FROM execution
WHERE id = :exec_id AND ended_claim = :ended_claim;

-- name: list_calls(exec_id)
-- An execution's journal, in the order in which positions were first written.
SELECT
    position, call_id, name, kind, type, fingerprint, ordered, status,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    output_codec, output_data, output_digest, output_size,
    failure, upstreams, cache_key, cached_from, epoch, started_at, ended_at
FROM call
WHERE execution_id = :exec_id
ORDER BY seq;

-- name: list_attempts(exec_id)
-- The failed attempts of an execution's calls.
SELECT position, number, status, started_at, ended_at, failure, next_at, most
FROM attempt
WHERE execution_id = :exec_id
ORDER BY position, number;

-- name: list_artifacts(exec_id)
-- What an execution saved, in that order.
SELECT
    id, position, attempt, name, kind, tags,
    value_codec, value_data, value_digest, value_size, attempt_failed, created_at
FROM artifact
WHERE execution_id = :exec_id
ORDER BY seq;

-- name: list_metadata(exec_id)
-- What an execution and its calls logged about themselves.
SELECT position, key, value
FROM metadata
WHERE execution_id = :exec_id
ORDER BY position, key;

-- name: get_outcome(exec_id, position)
-- What a call's outcome is told by.
SELECT fingerprint, status, output_data, output_digest
FROM call
WHERE execution_id = :exec_id AND position = :position;

-- name: find_cached_call(cache_key, project, since, besides)
-- The newest result that a call with this key may reuse, with its execution in front.
SELECT
    call.execution_id, call.position, call.call_id, call.name, call.kind, call.type, call.fingerprint,
    call.ordered, call.status,
    call.inputs_codec, call.inputs_data, call.inputs_digest, call.inputs_size,
    call.output_codec, call.output_data, call.output_digest, call.output_size,
    call.failure, call.upstreams, call.cache_key, call.cached_from, call.epoch, call.started_at, call.ended_at
FROM call
INNER JOIN execution ON execution.id = call.execution_id
WHERE call.status = 'completed'
    AND call.cache_key = :cache_key
    AND execution.project = :project
    AND call.ended_at >= :since
    AND call.execution_id <> :besides
ORDER BY call.ended_at DESC, call.seq DESC
LIMIT 1;
