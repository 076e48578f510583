"""Models as JSON: the shapes that scripts and other tools rely on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from kitaru.client.comparing import ValueDiff
from kitaru.client.diffing import CallDiff, ExecutionDiff
from kitaru.client.event_reading import ExecutionEvent
from kitaru.client.models import (
    ArtifactRef,
    CheckpointAttempt,
    CheckpointCall,
    Execution,
    FailureInfo,
    LogEntry,
    PendingWait,
)
from kitaru.client.statistics import (
    CheckpointStatistics,
    ExecutionStatistics,
    FlowStatistics,
    SpanStatistics,
)
from kitaru.client.story import Explanation

Shape = dict[str, Any]


def execution_summary(execution: Execution) -> Shape:
    """Return the shape of an execution in a list."""
    return {
        "exec_id": execution.exec_id,
        "flow_id": execution.flow_id,
        "flow_name": execution.flow_name,
        "status": execution.status.value,
        "created_at": moment(execution.created_at),
        "started_at": moment(execution.started_at),
        "ended_at": moment(execution.ended_at),
        "stack_name": execution.stack_name,
        "status_reason": execution.status_reason,
        "original_exec_id": execution.original_exec_id,
        "pending_wait": pending_wait(execution.pending_wait),
        "failure": failure(execution.failure),
        "metadata": plain(execution.metadata),
        "tags": list(execution.tags),
        "parent_exec_id": execution.parent_exec_id,
        "checkpoint_count": len(execution.checkpoints),
        "artifact_count": len(execution.artifacts),
    }


def execution(execution: Execution) -> Shape:
    """Return the shape of an execution in full."""
    return {
        **execution_summary(execution),
        "recoveries": execution.recoveries,
        "cancel_requested_at": moment(execution.cancel_requested_at),
        "cancel_requested_by": execution.cancel_requested_by,
        "frozen_execution_spec": plain(execution.frozen_execution_spec),
        "pending_waits": [pending_wait(wait) for wait in execution.pending_waits],
        "waits": [wait(asked) for asked in execution.waits],
        "checkpoints": [checkpoint(call) for call in execution.checkpoints],
        "artifacts": [artifact(kept) for kept in execution.artifacts],
    }


def checkpoint(call: CheckpointCall) -> Shape:
    """Return the shape of a call."""
    return {
        "call_id": call.call_id,
        "name": call.name,
        "checkpoint_type": call.checkpoint_type,
        "status": call.status.value,
        "started_at": moment(call.started_at),
        "ended_at": moment(call.ended_at),
        "duration_seconds": None if call.duration is None else call.duration.total_seconds(),
        "metadata": plain(call.metadata),
        "original_call_id": call.original_call_id,
        "position": call.position,
        "is_reused": call.is_reused,
        "wakes_at": moment(call.wakes_at),
        "is_overridden": call.is_overridden,
        "parent_call_ids": list(call.parent_call_ids),
        "child_exec_id": call.child_exec_id,
        "failure": failure(call.failure),
        "attempts": [attempt(tried) for tried in call.attempts],
        "artifacts": [artifact(kept) for kept in call.artifacts],
    }


def pending_wait(asked: PendingWait | None) -> Shape | None:
    """Return the shape of an open question."""
    if asked is None:
        return None
    return {
        "wait_id": asked.wait_id,
        "name": asked.name,
        "question": asked.question,
        "schema": None if asked.schema is None else dict(asked.schema),
        "metadata": plain(asked.metadata),
        "entered_waiting_at": moment(asked.entered_waiting_at),
        "expires_at": moment(asked.expires_at),
        "problem": asked.problem,
        "exec_id": asked.exec_id,
        "flow_name": asked.flow_name,
    }


def wait(asked: PendingWait) -> Shape:
    """Return the shape of a question, open or over."""
    return {
        **(pending_wait(asked) or {}),
        "status": asked.status.value,
        "answer": plain(asked.answer),
        "resolved_at": moment(asked.resolved_at),
        "resolved_by": asked.resolved_by,
        "resolved_via": asked.resolved_via,
    }


def attempt(tried: CheckpointAttempt) -> Shape:
    """Return the shape of an attempt."""
    return {
        "attempt_id": tried.attempt_id,
        "number": tried.number,
        "status": tried.status.value,
        "started_at": moment(tried.started_at),
        "ended_at": moment(tried.ended_at),
        "metadata": plain(tried.metadata),
        "failure": failure(tried.failure),
    }


def artifact(kept: ArtifactRef) -> Shape:
    """Return the shape of an artifact."""
    return {
        "artifact_id": kept.artifact_id,
        "name": kept.name,
        "kind": kept.kind,
        "save_type": kept.save_type,
        "producing_call": kept.producing_call,
        "metadata": plain(kept.metadata),
        "tags": list(kept.tags),
        "attempt_failed": kept.attempt_failed,
        "created_at": moment(kept.created_at),
    }


def failure(failed: FailureInfo | None) -> Shape | None:
    """Return the shape of a failure."""
    if failed is None:
        return None
    return {
        "message": failed.message,
        "exception_type": failed.exception_type,
        "traceback": failed.traceback,
        "origin": failed.origin.value,
    }


def log_entry(entry: LogEntry) -> Shape:
    """Return the shape of a log line: its message, and what else is known."""
    known: Shape = {
        "level": entry.level,
        "timestamp": moment(entry.timestamp),
        "source": entry.source,
        "checkpoint_name": entry.checkpoint_name,
        "attempt": entry.attempt,
        "logger": entry.logger,
        "module": entry.module,
        "filename": entry.filename,
        "lineno": entry.lineno,
    }
    return {
        "message": entry.message,
        **{key: value for key, value in known.items() if value is not None},
    }


def event(told: ExecutionEvent) -> Shape:
    """Return the shape of an event."""
    return {
        "exec_id": told.exec_id,
        "kind": told.kind,
        "payload": plain(told.payload),
        "correlation_id": told.correlation_id,
        "index": told.index,
        "cursor": told.cursor,
        "checkpoint_id": told.checkpoint_id,
        "checkpoint_name": told.checkpoint_name,
        "step_name": told.step_name,
        "created_at": moment(told.created_at),
    }


def explanation(told: Explanation) -> Shape:
    """Return the shape of why an execution is in its state."""
    return {
        "exec_id": told.exec_id,
        "status": told.status.value,
        "reason": told.reason.value,
        "text": told.text,
        "since": moment(told.since),
        "next_steps": list(told.next_steps),
    }


def statistics(found: ExecutionStatistics) -> Shape:
    """Return the shape of how a project's flows have fared."""
    return {
        "project": found.project,
        "since": moment(found.since),
        "executions": found.executions,
        "flows": [flow_statistics(flow) for flow in found.flows],
    }


def flow_statistics(found: FlowStatistics) -> Shape:
    """Return the shape of one flow's statistics."""
    return {
        "flow_name": found.flow_name,
        "executions": found.executions,
        "by_status": {status.value: count for status, count in found.by_status.items()},
        "success_rate": found.success_rate,
        "durations": _spans(found.durations),
        "recoveries": found.recoveries,
        "waits": {
            "asked": found.waits.asked,
            "answered": found.waits.answered,
            "aborted": found.waits.aborted,
            "expired": found.waits.expired,
            "time_to_answer": _spans(found.waits.time_to_answer),
        },
        "checkpoints": [_checkpoint_statistics(one) for one in found.checkpoints],
    }


def _checkpoint_statistics(found: CheckpointStatistics) -> Shape:
    return {
        "name": found.name,
        "calls": found.calls,
        "failed": found.failed,
        "cached": found.cached,
        "reused": found.reused,
        "failed_attempts": found.failed_attempts,
        "durations": _spans(found.durations),
    }


def _spans(found: SpanStatistics | None) -> Shape | None:
    if found is None:
        return None
    return {
        "count": found.count,
        "mean_seconds": found.mean_seconds,
        "median_seconds": found.median_seconds,
        "p95_seconds": found.p95_seconds,
        "max_seconds": found.max_seconds,
    }


def diff(found: ExecutionDiff) -> Shape:
    """Return the shape of how two executions differ."""
    return {
        "exec_id": found.exec_id,
        "other_id": found.other_id,
        "flow_name": found.flow_name,
        "other_flow_name": found.other_flow_name,
        "is_same": found.is_same,
        "is_same_flow": found.is_same_flow,
        "is_same_code": found.is_same_code,
        "is_replay": found.is_replay,
        "status": found.status.value,
        "other_status": found.other_status.value,
        "inputs": value_diff(found.inputs),
        "result": value_diff(found.result),
        "failure": found.failure,
        "other_failure": found.other_failure,
        "same": found.same,
        "changed": found.changed,
        "only_here": found.only_here,
        "only_there": found.only_there,
        "calls": [call_diff(call) for call in found.calls],
    }


def call_diff(call: CallDiff) -> Shape:
    """Return the shape of how a call differs."""
    here, there = call.here_duration, call.there_duration
    return {
        "kind": call.kind.value,
        "call_id": call.call_id,
        "name": call.name,
        "position": call.position,
        "here": call.here,
        "there": call.there,
        "inputs": value_diff(call.inputs),
        "output": value_diff(call.output),
        "here_failure": call.here_failure,
        "there_failure": call.there_failure,
        "here_duration_seconds": None if here is None else here.total_seconds(),
        "there_duration_seconds": None if there is None else there.total_seconds(),
    }


def value_diff(found: ValueDiff) -> Shape:
    """Return the shape of how a value differs."""
    return {
        "is_same": found.is_same,
        "changes": [
            {
                "path": change.path,
                "kind": change.kind.value,
                "here": change.here,
                "there": change.there,
            }
            for change in found.changes
        ],
        "more": found.more,
        "problem": found.problem,
    }


def moment(value: datetime | None) -> str | None:
    """Return a moment in ISO 8601, UTC."""
    return None if value is None else value.isoformat()


def plain(value: object) -> Any:
    """Return a value made of what JSON has; anything else by its `repr`."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value)
        return {str(key): plain(part) for key, part in entries.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in cast("list[object]", value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)
