-- name: check_fence(exec_id, epoch)
-- Whether a claim still holds its execution, and nobody takes it away before this transaction ends. The row is
-- found by its id alone: before statistics tell how many are running, the index by status would seem as good.
WITH locked AS MATERIALIZED (
    SELECT epoch, status, cancel_requested_at
    FROM execution
    WHERE id = :exec_id
    FOR NO KEY UPDATE
)
SELECT cancel_requested_at
FROM locked
WHERE epoch = :epoch AND status = 'running';

-- name: commit_call(exec_id, position, call_id, name, kind, type, fingerprint, ordered, status, inputs_codec, inputs_data, inputs_digest, inputs_size, output_codec, output_data, output_digest, output_size, failure, upstreams, cache_key, cached_from, epoch, started_at, ended_at, claim)
-- The fence and one journal row in a single statement, which is a transaction by itself: the usual checkpoint
-- costs one way to the database and back. What it does to the row is what `record_call` does.
WITH locked AS MATERIALIZED (
    SELECT id, epoch, status, cancel_requested_at
    FROM execution
    WHERE id = :exec_id
    FOR NO KEY UPDATE
),
fence AS MATERIALIZED (
    SELECT id, cancel_requested_at
    FROM locked
    WHERE epoch = :claim AND status = 'running'
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

-- name: commit_calls(entries)
-- The same for many entries, of any executions, in one statement and one transaction. `entries` is a JSON list of
-- lists: the arguments of `commit_call`, bytes in base64. No two are of the same position.
WITH entry AS MATERIALIZED (
    SELECT
        number,
        value,
        value ->> 0 AS execution_id,
        value ->> 1 AS position,
        CAST(value ->> 24 AS BIGINT) AS claim
    FROM jsonb_array_elements(CAST(:entries AS JSONB)) WITH ORDINALITY AS given (value, number)
),
locked AS MATERIALIZED (
    SELECT id, epoch, status, cancel_requested_at
    FROM execution
    WHERE id = ANY(ARRAY(SELECT execution_id FROM entry))
    ORDER BY id
    FOR NO KEY UPDATE
),
held AS MATERIALIZED (
    SELECT entry.number, entry.value, entry.execution_id, entry.position, locked.cancel_requested_at
    FROM entry
    INNER JOIN locked ON locked.id = entry.execution_id
    WHERE locked.epoch = entry.claim AND locked.status = 'running'
),
written AS (
    INSERT INTO call (
        execution_id, position, call_id, name, kind, type, fingerprint, ordered, status,
        inputs_codec, inputs_data, inputs_digest, inputs_size,
        output_codec, output_data, output_digest, output_size,
        failure, upstreams, cache_key, cached_from, epoch, started_at, ended_at
    )
    SELECT
        execution_id,
        position,
        value ->> 2,
        value ->> 3,
        value ->> 4,
        value ->> 5,
        decode(value ->> 6, 'base64'),
        CAST(value ->> 7 AS SMALLINT),
        value ->> 8,
        value ->> 9,
        decode(value ->> 10, 'base64'),
        value ->> 11,
        CAST(value ->> 12 AS BIGINT),
        value ->> 13,
        decode(value ->> 14, 'base64'),
        value ->> 15,
        CAST(value ->> 16 AS BIGINT),
        value ->> 17,
        value ->> 18,
        decode(value ->> 19, 'base64'),
        value ->> 20,
        CAST(value ->> 21 AS BIGINT),
        CAST(value ->> 22 AS BIGINT),
        CAST(value ->> 23 AS BIGINT)
    FROM held
    ORDER BY number
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
    RETURNING execution_id, position
)
SELECT
    held.number IS NOT NULL,
    held.cancel_requested_at,
    written.position IS NOT NULL
FROM entry
LEFT JOIN held ON held.number = entry.number
LEFT JOIN written ON written.execution_id = entry.execution_id AND written.position = entry.position
ORDER BY entry.number;

-- name: commit_end(exec_id, claim, status, result_codec, result_data, result_digest, result_size, failure, status_reason, ended_at, ended_claim, events)
-- What `commit_ends` does, for one end: without a list to take apart it costs the database half. `events` is a JSON
-- list of lists.
WITH locked AS MATERIALIZED (
    SELECT id, epoch, status, cancel_requested_at
    FROM execution
    WHERE id = :exec_id
        AND parent_id IS NULL
        AND idempotency_key IS NULL
    FOR NO KEY UPDATE
),
held AS MATERIALIZED (
    SELECT id, cancel_requested_at
    FROM locked
    WHERE epoch = :claim
        AND status = 'running'
        AND NOT EXISTS (SELECT 1 FROM wait WHERE wait.execution_id = locked.id AND wait.status = 'open')
        AND NOT EXISTS (SELECT 1 FROM wait WHERE wait.child_id = locked.id AND wait.status = 'open')
),
ended AS (
    UPDATE execution
    SET
        status = :status,
        result_codec = :result_codec,
        result_data = :result_data,
        result_digest = :result_digest,
        result_size = :result_size,
        failure = :failure,
        status_reason = :status_reason,
        held_at = NULL,
        ended_at = coalesce(:ended_at, held.cancel_requested_at),
        ended_claim = :ended_claim,
        lease_owner = NULL,
        lease_expires_at = NULL
    FROM held
    WHERE execution.id = held.id
    RETURNING execution.id, held.cancel_requested_at
),
-- In the order of their cursors, as `serialize_cursors` has it.
teller AS MATERIALIZED (
    SELECT id, pg_advisory_xact_lock(hashtextextended('told:' || id, 0)) AS locked
    FROM held
    WHERE :events <> '[]'
),
told AS (
    INSERT INTO event (execution_id, kind, position, payload, created_at)
    SELECT
        teller.id,
        given.event ->> 0,
        given.event ->> 1,
        given.event ->> 2,
        CAST(given.event ->> 3 AS BIGINT)
    FROM teller
    CROSS JOIN LATERAL jsonb_array_elements(CAST(:events AS JSONB)) WITH ORDINALITY AS given (event, number)
    WHERE teller.locked IS NOT NULL
    ORDER BY given.number
)
SELECT id, cancel_requested_at FROM ended;

-- name: commit_ends(entries)
-- Ends of claims with the events that come with them, in one statement and one transaction. `entries` is a JSON
-- list of lists, bytes in base64, each of another execution. Given back are those that were ended. Left out are
-- those for whose end somebody may be waiting just now: only what is started by a flow, or has a key by which a
-- flow may find it, is ever waited for, and whether it is can only be seen by another statement, after the lock.
WITH entry AS MATERIALIZED (
    SELECT value, value ->> 0 AS execution_id, CAST(value ->> 1 AS BIGINT) AS claim
    FROM jsonb_array_elements(CAST(:entries AS JSONB)) AS given (value)
),
locked AS MATERIALIZED (
    SELECT id, epoch, status, cancel_requested_at
    FROM execution
    WHERE id = ANY(ARRAY(SELECT execution_id FROM entry))
        AND parent_id IS NULL
        AND idempotency_key IS NULL
    ORDER BY id
    FOR NO KEY UPDATE
),
held AS MATERIALIZED (
    SELECT entry.value, locked.id, locked.cancel_requested_at
    FROM entry
    INNER JOIN locked ON locked.id = entry.execution_id
    WHERE locked.epoch = entry.claim
        AND locked.status = 'running'
        AND NOT EXISTS (SELECT 1 FROM wait WHERE wait.execution_id = locked.id AND wait.status = 'open')
        AND NOT EXISTS (SELECT 1 FROM wait WHERE wait.child_id = locked.id AND wait.status = 'open')
),
ended AS (
    UPDATE execution
    SET
        status = value ->> 2,
        result_codec = value ->> 3,
        result_data = decode(value ->> 4, 'base64'),
        result_digest = value ->> 5,
        result_size = CAST(value ->> 6 AS BIGINT),
        failure = value ->> 7,
        status_reason = value ->> 8,
        held_at = NULL,
        ended_at = coalesce(CAST(value ->> 9 AS BIGINT), held.cancel_requested_at),
        ended_claim = value ->> 10,
        lease_owner = NULL,
        lease_expires_at = NULL
    FROM held
    WHERE execution.id = held.id
    RETURNING execution.id, held.cancel_requested_at
),
-- In the order of their cursors, as `serialize_cursors` has it.
teller AS MATERIALIZED (
    SELECT id, value -> 11 AS events, pg_advisory_xact_lock(hashtextextended('told:' || id, 0)) AS locked
    FROM held
    WHERE jsonb_array_length(value -> 11) > 0
),
told AS (
    INSERT INTO event (execution_id, kind, position, payload, created_at)
    SELECT
        teller.id,
        given.event ->> 0,
        given.event ->> 1,
        given.event ->> 2,
        CAST(given.event ->> 3 AS BIGINT)
    FROM teller
    CROSS JOIN LATERAL jsonb_array_elements(teller.events) WITH ORDINALITY AS given (event, number)
    WHERE teller.locked IS NOT NULL
    ORDER BY teller.id, given.number
)
SELECT id, cancel_requested_at FROM ended;
