-- name: check_fence(exec_id, epoch)
-- Whether a claim still holds its execution, and nobody takes it away before this transaction ends.
SELECT cancel_requested_at
FROM execution
WHERE id = :exec_id AND epoch = :epoch AND status = 'running'
FOR NO KEY UPDATE;

-- name: commit_call(exec_id, position, call_id, name, kind, type, fingerprint, ordered, status, inputs_codec, inputs_data, inputs_digest, inputs_size, output_codec, output_data, output_digest, output_size, failure, upstreams, cache_key, cached_from, epoch, started_at, ended_at, claim)
-- The fence and one journal row in a single statement, which is a transaction by itself: the usual checkpoint
-- costs one way to the database and back. What it does to the row is what `record_call` does.
WITH fence AS MATERIALIZED (
    SELECT id, cancel_requested_at
    FROM execution
    WHERE id = :exec_id AND epoch = :claim AND status = 'running'
    FOR NO KEY UPDATE
),
written AS (
    INSERT INTO call (
        execution_id, position, call_id, name, kind, type, fingerprint, ordered, status,
        inputs_codec, inputs_data, inputs_digest, inputs_size,
        output_codec, output_data, output_digest, output_size,
        failure, upstreams, cache_key, cached_from, epoch, started_at, ended_at
    )
    SELECT
        fence.id,
        CAST(:position AS TEXT),
        CAST(:call_id AS TEXT),
        CAST(:name AS TEXT),
        CAST(:kind AS TEXT),
        CAST(:type AS TEXT),
        CAST(:fingerprint AS BYTEA),
        CAST(:ordered AS SMALLINT),
        CAST(:status AS TEXT),
        CAST(:inputs_codec AS TEXT),
        CAST(:inputs_data AS BYTEA),
        CAST(:inputs_digest AS TEXT),
        CAST(:inputs_size AS BIGINT),
        CAST(:output_codec AS TEXT),
        CAST(:output_data AS BYTEA),
        CAST(:output_digest AS TEXT),
        CAST(:output_size AS BIGINT),
        CAST(:failure AS TEXT),
        CAST(:upstreams AS TEXT),
        CAST(:cache_key AS BYTEA),
        CAST(:cached_from AS TEXT),
        CAST(:epoch AS BIGINT),
        CAST(:started_at AS BIGINT),
        CAST(:ended_at AS BIGINT)
    FROM fence
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
    WHERE call.status IN ('pending', 'running')
    RETURNING 1
)
SELECT fence.cancel_requested_at, EXISTS (SELECT 1 FROM written)
FROM fence;
