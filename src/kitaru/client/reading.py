"""Records of the store to the models that users read. Pure: every record is given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kitaru.client.models import (
    ArtifactRef,
    CheckpointAttempt,
    CheckpointCall,
    Execution,
    FailureInfo,
    LogEntry,
    PendingWait,
    Source,
    UserValue,
)
from kitaru.clock import to_datetime
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    CallKind,
    CallRecord,
    CallStatus,
    ExecutionRecord,
    ExecutionStatus,
    FailureRecord,
    LogLine,
    MetadataRecord,
    StoredValue,
    WaitKind,
    WaitRecord,
)

_CALL_STATUS = {
    CallStatus.PENDING: ExecutionStatus.PENDING,
    CallStatus.RUNNING: ExecutionStatus.RUNNING,
    CallStatus.COMPLETED: ExecutionStatus.COMPLETED,
    CallStatus.CACHED: ExecutionStatus.COMPLETED,
    CallStatus.REUSED: ExecutionStatus.COMPLETED,
    CallStatus.OVERRIDDEN: ExecutionStatus.COMPLETED,
    CallStatus.FAILED: ExecutionStatus.FAILED,
}
_KIND_OF_OUTPUT = {"llm_call": "response", "tool_call": "output"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """Everything that the store has about one execution.

    Attributes:
        children: The executions that its flow started.
        sources: For each `execution/position` whose result was reused, its `execution/call`.
        waits: What the execution has waited for.
    """

    calls: Sequence[CallRecord] = ()
    attempts: Sequence[AttemptRecord] = ()
    artifacts: Sequence[ArtifactRecord] = ()
    metadata: Sequence[MetadataRecord] = ()
    children: Sequence[ExecutionRecord] = ()
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    waits: Sequence[WaitRecord] = ()


def execution_of(
    record: ExecutionRecord, source: Source, detail: Detail | None = None
) -> Execution:
    """Return an execution; without detail, a summary."""
    detail = detail or Detail()
    checkpoints = checkpoints_of(record, source, detail)
    return Execution(
        exec_id=record.id,
        flow_id=record.code_ref,
        flow_name=record.flow,
        status=record.status,
        created_at=to_datetime(record.created_at),
        started_at=_moment(record.started_at),
        ended_at=_moment(record.ended_at),
        stack_name=record.stack,
        metadata=_metadata_of(detail.metadata, ""),
        # A reason that only repeats the status tells nothing.
        status_reason=None if record.status_reason == record.status.value else record.status_reason,
        failure=failure_of(record.failure),
        frozen_execution_spec=dict(record.spec),
        parent_exec_id=record.parent_id,
        original_exec_id=record.origin_id,
        waits=tuple(
            pending_wait_of(wait, record.flow)
            for wait in detail.waits
            if wait.kind is WaitKind.INPUT
        ),
        checkpoints=checkpoints,
        artifacts=tuple(artifact for call in checkpoints for artifact in call.artifacts),
        tags=record.tags,
        recoveries=record.recoveries,
        cancel_requested_at=_moment(record.cancel_requested_at),
        cancel_requested_by=record.cancel_requested_by,
        _inputs=record.inputs,
        _result=record.result,
        _source=source,
    )


def checkpoints_of(
    record: ExecutionRecord, source: Source, detail: Detail
) -> tuple[CheckpointCall, ...]:
    """Return an execution's calls in the order in which they were first written."""
    shown = [call for call in detail.calls if call.kind is not CallKind.VALUE]
    call_ids = {call.position: call.call_id for call in shown}
    children = {child.parent_position: child for child in detail.children}
    by_position: dict[str, _Own] = {call.position: _Own() for call in shown}
    for attempt in detail.attempts:
        if attempt.position in by_position:
            by_position[attempt.position].attempts.append(attempt)
    for artifact in detail.artifacts:
        if artifact.position in by_position:
            by_position[artifact.position].artifacts.append(artifact)
    for entry in detail.metadata:
        if entry.position in by_position:
            by_position[entry.position].metadata.append(entry)
    wakes = {wait.position: wait.wake_at for wait in detail.waits if wait.kind is WaitKind.TIMER}
    read = _CallReader(record, source, call_ids, detail.sources, wakes)
    return tuple(
        read.child(call, children.get(call.position))
        if call.kind is CallKind.CHILD
        else read.checkpoint(call, by_position[call.position])
        for call in shown
    )


@dataclass(frozen=True, slots=True)
class _Own:
    """What belongs to one call."""

    attempts: list[AttemptRecord] = field(default_factory=list[AttemptRecord])
    artifacts: list[ArtifactRecord] = field(default_factory=list[ArtifactRecord])
    metadata: list[MetadataRecord] = field(default_factory=list[MetadataRecord])


@dataclass(frozen=True, slots=True)
class _CallReader:
    execution: ExecutionRecord
    source: Source
    call_ids: Mapping[str, str]
    sources: Mapping[str, str]
    wakes: Mapping[str, int | None]

    def checkpoint(self, call: CallRecord, own: _Own) -> CheckpointCall:
        status = self._status(call)
        return CheckpointCall(
            call_id=call.call_id,
            name=call.name,
            status=status,
            started_at=to_datetime(call.started_at),
            ended_at=_moment(call.ended_at),
            metadata=_metadata_of(own.metadata, call.position),
            original_call_id=self.sources.get(call.cached_from or "", call.cached_from),
            parent_call_ids=self._parents(call),
            failure=failure_of(call.failure),
            attempts=self._attempts(call, status, own.attempts),
            artifacts=self._artifacts(call, own.artifacts),
            checkpoint_type=call.type,
            scope=call.position.rpartition("/")[0],
            position=call.position,
            is_reused=call.status is CallStatus.REUSED,
            is_overridden=call.status is CallStatus.OVERRIDDEN,
            wakes_at=_moment(self.wakes.get(call.position)),
        )

    def child(self, call: CallRecord, child: ExecutionRecord | None) -> CheckpointCall:
        """Return the call that started a flow; it stands where the child stands."""
        return CheckpointCall(
            call_id=call.call_id,
            name=call.name,
            status=self._status(call) if child is None else child.status,
            started_at=to_datetime(call.started_at),
            ended_at=_moment(call.ended_at if child is None else child.ended_at),
            metadata={},
            original_call_id=self.sources.get(call.cached_from or "", call.cached_from),
            parent_call_ids=self._parents(call),
            failure=failure_of(call.failure if child is None else child.failure),
            attempts=(),
            artifacts=(),
            checkpoint_type="flow",
            child_exec_id=self._child_id(call) if child is None else child.id,
            scope=call.position.rpartition("/")[0],
            position=call.position,
            is_reused=call.status is CallStatus.REUSED,
        )

    def _child_id(self, call: CallRecord) -> str | None:
        """Return the child of another execution that a replay took over."""
        return None if call.output is None else str(self.source.describe(call.output))

    def _status(self, call: CallRecord) -> ExecutionStatus:
        if call.status is CallStatus.REUSED and call.failure is not None:
            return ExecutionStatus.FAILED
        if call.status is not CallStatus.RUNNING:
            return _CALL_STATUS[call.status]
        if self.execution.status is ExecutionStatus.FAILED:
            return ExecutionStatus.FAILED  # nobody cancelled it: its flow's failure cut it off
        if self.execution.status.is_finished:
            return ExecutionStatus.CANCELLED
        if call.kind in {CallKind.WAIT, CallKind.TIMER}:
            return ExecutionStatus.WAITING
        # A row of an earlier claim, or of a runner that is gone: the body will run again.
        runs = self.execution.status is ExecutionStatus.RUNNING
        is_current = runs and call.epoch == self.execution.epoch
        return ExecutionStatus.RUNNING if is_current else ExecutionStatus.PENDING

    def _parents(self, call: CallRecord) -> tuple[str, ...]:
        return tuple(self.call_ids[at] for at in call.upstreams if at in self.call_ids)

    def _attempts(
        self, call: CallRecord, status: ExecutionStatus, failed: list[AttemptRecord]
    ) -> tuple[CheckpointAttempt, ...]:
        attempts = [
            self._attempt(
                call,
                number=attempt.number,
                status=ExecutionStatus.FAILED,
                started_at=attempt.started_at,
                ended_at=attempt.ended_at,
                failure=failure_of(attempt.failure),
            )
            for attempt in failed
        ]
        is_body = call.kind is CallKind.CHECKPOINT
        told_by_row = (is_body and call.status in {CallStatus.COMPLETED, CallStatus.RUNNING}) or (
            call.status is CallStatus.FAILED and not failed
        )
        if told_by_row:
            last = failed[-1] if failed else None
            attempts.append(
                self._attempt(
                    call,
                    number=1 if last is None else last.number + 1,
                    status=status,
                    # The row tells when the call started; its last try began after the one before.
                    started_at=max(call.started_at, 0 if last is None else last.ended_at),
                    ended_at=call.ended_at,
                    failure=failure_of(call.failure),
                )
            )
        return tuple(attempts)

    def _attempt(
        self,
        call: CallRecord,
        *,
        number: int,
        status: ExecutionStatus,
        started_at: int,
        ended_at: int | None,
        failure: FailureInfo | None,
    ) -> CheckpointAttempt:
        return CheckpointAttempt(
            attempt_id=f"{self.execution.id}/{call.call_id}/{number}",
            number=number,
            status=status,
            started_at=to_datetime(started_at),
            ended_at=_moment(ended_at),
            metadata={},
            failure=failure,
        )

    def _artifacts(self, call: CallRecord, saved: list[ArtifactRecord]) -> tuple[ArtifactRef, ...]:
        found = [self._saved_artifact(call, artifact) for artifact in saved]
        if call.output is not None:
            output = ArtifactRef(
                artifact_id=f"{self.execution.id}/{call.call_id}/output",
                name=call.call_id,
                kind=_KIND_OF_OUTPUT.get(call.type or ""),
                save_type="step_output",
                producing_call=call.call_id,
                metadata=_facts_of(call.output),
                created_at=_moment(call.ended_at),
                _stored=call.output,
                _source=self.source,
            )
            return (output, *found)
        return tuple(found)

    def _saved_artifact(self, call: CallRecord, artifact: ArtifactRecord) -> ArtifactRef:
        return ArtifactRef(
            artifact_id=f"{self.execution.id}/{call.call_id}/{artifact.id}",
            name=artifact.name,
            kind=artifact.kind,
            save_type="manual",
            producing_call=call.call_id,
            metadata=_facts_of(artifact.value),
            tags=artifact.tags,
            attempt_failed=artifact.attempt_failed,
            created_at=to_datetime(artifact.created_at),
            _stored=artifact.value,
            _source=self.source,
        )


def pending_wait_of(wait: WaitRecord, flow: str) -> PendingWait:
    """Return a question as users read it."""
    return PendingWait(
        wait_id=wait.wait_id,
        name=wait.name,
        question=wait.question,
        schema=None if wait.schema is None else json.loads(wait.schema),
        metadata={} if wait.metadata == "{}" else json.loads(wait.metadata),
        entered_waiting_at=to_datetime(wait.created_at),
        expires_at=_moment(wait.wake_at),
        exec_id=wait.exec_id,
        flow_name=flow,
        problem=wait.problem,
        status=wait.status,
        answer=None if wait.answer is None else json.loads(wait.answer),
        resolved_at=_moment(wait.resolved_at),
        resolved_by=wait.resolved_by,
        resolved_via=wait.resolved_via,
    )


def failure_of(record: FailureRecord | None) -> FailureInfo | None:
    """Return a failure as users read it."""
    if record is None:
        return None
    return FailureInfo(
        message=record.message,
        exception_type=record.exception_type or None,
        traceback=record.traceback or None,
        origin=record.origin,
    )


def log_entry_of(line: LogLine, call_ids: Mapping[str, str]) -> LogEntry:
    """Return a log line as users read it."""
    return LogEntry(
        message=line.message,
        level=line.level,
        timestamp=to_datetime(line.logged_at),
        source=line.source.value,
        checkpoint_name=call_ids.get(line.position, line.position) or None,
        attempt=line.attempt if line.position else None,
        logger=line.logger,
        module=line.module,
        filename=line.filename,
        lineno=line.lineno,
    )


def _metadata_of(records: Sequence[MetadataRecord], position: str) -> dict[str, UserValue]:
    return {entry.key: json.loads(entry.value) for entry in records if entry.position == position}


def _facts_of(stored: StoredValue) -> dict[str, UserValue]:
    facts: dict[str, UserValue] = {"size": stored.size, "codec": stored.codec}
    return facts if stored.digest is None else {**facts, "digest": stored.digest}


def _moment(moment: int | None) -> datetime | None:
    return None if moment is None else to_datetime(moment)
