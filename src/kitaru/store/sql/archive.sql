-- name: import_execution(exec_id, project, flow, code_ref, code_root, code_hash, status, epoch, inputs_codec, inputs_data, inputs_digest, inputs_size, result_codec, result_data, result_digest, result_size, failure, stack, spec, tags, parent_id, parent_position, idempotency_key, cancel_requested_at, cancel_requested_by, recoveries, max_recoveries, retries_left, runnable_at, created_at, started_at, ended_at, status_reason, origin_id, replay_plan)!
-- A finished execution of another store, exactly as it was there.
INSERT INTO execution (
    id, project, flow, code_ref, code_root, code_hash, status, epoch,
    inputs_codec, inputs_data, inputs_digest, inputs_size,
    result_codec, result_data, result_digest, result_size,
    failure, stack, spec, tags, parent_id, parent_position, idempotency_key,
    cancel_requested_at, cancel_requested_by, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, ended_at, status_reason, origin_id, replay_plan
)
VALUES (
    :exec_id, :project, :flow, :code_ref, :code_root, :code_hash, :status, :epoch,
    :inputs_codec, :inputs_data, :inputs_digest, :inputs_size,
    :result_codec, :result_data, :result_digest, :result_size,
    :failure, :stack, :spec, :tags, :parent_id, :parent_position, :idempotency_key,
    :cancel_requested_at, :cancel_requested_by, :recoveries, :max_recoveries, :retries_left,
    :runnable_at, :created_at, :started_at, :ended_at, :status_reason, :origin_id, :replay_plan
);
