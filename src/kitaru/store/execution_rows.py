"""Executions to rows and back; the order of the columns is that of `execution_columns`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kitaru.errors import KitaruUsageError
from kitaru.model import ExecutionRecord, ExecutionStatus, NewExecution, StoredValue
from kitaru.store.queries import Row
from kitaru.store.rows import (
    failure_from_json,
    failure_to_json,
    value_columns,
    words_from_json,
    words_to_json,
)

_STATUS = {status.value: status for status in ExecutionStatus}

_decode_spec = msgspec.json.Decoder(dict[str, Any]).decode

INSERT_EXECUTION = "insert_execution"


def execution_from_row(row: Row) -> ExecutionRecord:
    """Return the execution that a row describes."""
    return ExecutionRecord(
        id=row[0],
        project=row[1],
        flow=row[2],
        code_ref=row[3],
        code_root=row[4],
        code_hash=row[5],
        status=_STATUS[row[6]],
        epoch=row[7],
        lease_owner=row[8],
        lease_expires_at=row[9],
        inputs=StoredValue(row[10], row[11], row[12], row[13]),
        result=None if row[14] is None else StoredValue(row[14], row[15], row[16], row[17]),
        failure=None if row[18] is None else failure_from_json(row[18]),
        stack=row[19],
        spec=_decode_spec(row[20]),
        tags=words_from_json(row[21]),
        parent_id=row[22],
        parent_position=row[23],
        idempotency_key=row[24],
        cancel_requested_at=row[25],
        cancel_requested_by=row[26],
        recoveries=row[27],
        max_recoveries=row[28],
        retries_left=row[29],
        runnable_at=row[30],
        created_at=row[31],
        started_at=row[32],
        ended_at=row[33],
        status_reason=row[34],
        origin_id=row[35],
        replay_plan=None if row[36] is None else _decode_spec(row[36]),
        held_at=row[37],
        launches=row[38],
    )


def execution_to_row(new: NewExecution) -> Row:
    """Return the parameters of `insert_execution`."""
    claim = new.claim
    inputs = new.inputs
    return (
        new.id,
        new.project,
        new.flow,
        new.code_ref,
        new.code_root,
        new.code_hash,
        "pending" if claim is None else "running",
        0 if claim is None else 1,
        None if claim is None else claim.owner,
        None if claim is None else claim.lease_expires_at,
        inputs.codec,
        inputs.data,
        inputs.digest,
        inputs.size,
        new.stack,
        spec_to_json(new.spec),
        words_to_json(new.tags),
        new.parent_id,
        new.parent_position,
        new.idempotency_key,
        new.max_recoveries,
        new.retries_left,
        new.created_at,
        new.created_at,
        None if claim is None else new.created_at,
        new.origin_id,
        None if new.replay_plan is None else plan_to_json(new.replay_plan),
    )


def record_to_row(execution: ExecutionRecord) -> Row:
    """Return the parameters of `import_execution`."""
    failure, plan = execution.failure, execution.replay_plan
    return (
        execution.id,
        execution.project,
        execution.flow,
        execution.code_ref,
        execution.code_root,
        execution.code_hash,
        execution.status.value,
        execution.epoch,
        *value_columns(execution.inputs),
        *value_columns(execution.result),
        None if failure is None else failure_to_json(failure),
        execution.stack,
        spec_to_json(execution.spec),
        words_to_json(execution.tags),
        execution.parent_id,
        execution.parent_position,
        execution.idempotency_key,
        execution.cancel_requested_at,
        execution.cancel_requested_by,
        execution.recoveries,
        execution.max_recoveries,
        execution.retries_left,
        execution.runnable_at,
        execution.created_at,
        execution.started_at,
        execution.ended_at,
        execution.status_reason,
        execution.origin_id,
        None if plan is None else plan_to_json(plan),
    )


def created_execution(new: NewExecution) -> ExecutionRecord:
    """Return what reading the row of `execution_to_row` back would give, without reading it."""
    claim = new.claim
    return ExecutionRecord(
        id=new.id,
        project=new.project,
        flow=new.flow,
        code_ref=new.code_ref,
        code_root=new.code_root,
        code_hash=new.code_hash,
        status=ExecutionStatus.PENDING if claim is None else ExecutionStatus.RUNNING,
        epoch=0 if claim is None else 1,
        lease_owner=None if claim is None else claim.owner,
        lease_expires_at=None if claim is None else claim.lease_expires_at,
        inputs=new.inputs,
        result=None,
        failure=None,
        stack=new.stack,
        spec=new.spec,
        tags=new.tags,
        parent_id=new.parent_id,
        parent_position=new.parent_position,
        idempotency_key=new.idempotency_key,
        cancel_requested_at=None,
        cancel_requested_by=None,
        recoveries=0,
        max_recoveries=new.max_recoveries,
        retries_left=new.retries_left,
        runnable_at=new.created_at,
        created_at=new.created_at,
        started_at=None if claim is None else new.created_at,
        ended_at=None,
        status_reason=None,
        origin_id=new.origin_id,
        replay_plan=new.replay_plan,
    )


def spec_to_json(spec: Mapping[str, object]) -> str:
    """Return an execution spec as JSON text.

    Raises:
        KitaruUsageError: It holds something that JSON cannot express.
    """
    return _to_json("an execution spec", spec)


def plan_to_json(plan: Mapping[str, object]) -> str:
    """Return a replay plan as JSON text.

    Raises:
        KitaruUsageError: It holds something that JSON cannot express.
    """
    return _to_json("a replay plan", plan)


def _to_json(what: str, values: Mapping[str, object]) -> str:
    try:
        return msgspec.json.encode(values).decode()
    except (TypeError, UnicodeEncodeError, msgspec.MsgspecError) as error:
        message = f"{what} must hold JSON values only: {error}. Got: {values!r}"
        raise KitaruUsageError(message) from error
