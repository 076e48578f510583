"""What users read: executions, calls, artifacts and log lines, frozen as they were when they were read.

Moments are aware `datetime`s in UTC. Nothing here knows the store; what needs one goes through the
`Source` that an object was read from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from kitaru.errors import FailureOrigin, KitaruStateError
from kitaru.model import ExecutionStatus, StoredValue, WaitStatus

UserValue = Any


class Source(Protocol):
    """Where objects were read from, and where they can be acted on."""

    def get(self, exec_id: str) -> Execution:
        """Return an execution as it is now."""
        ...

    def retry(self, exec_id: str) -> Execution:
        """Continue a failed execution."""
        ...

    def recover_one(self, exec_id: str) -> Execution:
        """Continue an interrupted execution."""
        ...

    def resume(self, exec_id: str) -> Execution:
        """Continue an execution that waits for nothing any more."""
        ...

    def replay(
        self,
        exec_id: str,
        *,
        from_: str | None = None,
        at: str | None = None,
        overrides: Mapping[str, UserValue] | None = None,
        code: Literal["current", "recorded"] = "current",
        **flow_inputs: UserValue,
    ) -> Execution:
        """Start a replay of an execution."""
        ...

    def cancel(self, exec_id: str) -> Execution:
        """Ask for an execution to be cancelled."""
        ...

    def load(self, stored: StoredValue) -> UserValue:
        """Return a stored value."""
        ...

    def describe(self, stored: StoredValue) -> UserValue:
        """Return what a stored value holds as JSON-like values, without running anything."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureInfo:
    """Why something failed.

    Attributes:
        message: The exception's text.
        exception_type: `module.Qualname` of its class.
        traceback: As Python prints it.
        origin: Who is to blame.
    """

    message: str
    exception_type: str | None
    traceback: str | None
    origin: FailureOrigin


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """A kept value: a checkpoint's output, or what `kitaru.save` was given.

    Attributes:
        artifact_id: What `client.artifacts.get` takes.
        name: The name it was saved under; of an output, its call's id.
        kind: What `save` was given as `type=`; of an output, what its checkpoint's type says.
        save_type: `step_output` or `manual`.
        producing_call: Id of the call that made it.
        metadata: Size in bytes, codec and, of large values, digest.
        tags: Words given at `save`.
        attempt_failed: Whether the attempt that saved it failed.
        created_at: When it was kept.
    """

    artifact_id: str
    name: str
    kind: str | None
    save_type: str
    producing_call: str | None
    metadata: Mapping[str, UserValue]
    tags: tuple[str, ...] = ()
    attempt_failed: bool = False
    created_at: datetime | None = None
    _stored: StoredValue = field(repr=False, compare=False)
    _source: Source = field(repr=False, compare=False)

    def load(self) -> UserValue:
        """Return the value.

        Raises:
            KitaruSerializationError: A class in it is gone, or its bytes cannot be read.
            KitaruBackendError: Its bytes are missing.
        """
        return self._source.load(self._stored)

    def describe(self) -> UserValue:
        """Return what it holds as JSON-like values, without importing or running anything."""
        return self._source.describe(self._stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWait:
    """A question of an execution, open or over.

    Attributes:
        wait_id: What answers name it by; unique in its execution.
        name: The name that the flow gave it; `wait` if none.
        schema: JSON Schema of the answer; None for a gate, which is only continued or aborted.
        metadata: What the flow adds for those who answer.
        entered_waiting_at: When it was asked.
        expires_at: When it ends by itself.
        problem: Why the flow did not accept the answer before.
        status: `open`, `answered`, `aborted`, `expired`, or `closed` when its execution ended first.
        answer: What was answered, as JSON values.
        resolved_by: Who answered or aborted it, such as `user@host`.
        resolved_via: From where, such as `cli (pid 4711)`.
    """

    wait_id: str
    name: str
    question: str | None
    schema: Mapping[str, UserValue] | None
    metadata: Mapping[str, UserValue]
    entered_waiting_at: datetime
    expires_at: datetime | None = None
    exec_id: str
    flow_name: str
    problem: str | None = None
    status: WaitStatus = WaitStatus.OPEN
    answer: UserValue = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    resolved_via: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointAttempt:
    """One try of a call.

    Attributes:
        attempt_id: The call's id and the number.
        number: Counted from 1 over all runs of the execution.
        status: How it ended, or `running`.
    """

    attempt_id: str
    number: int
    status: ExecutionStatus
    started_at: datetime
    ended_at: datetime | None
    metadata: Mapping[str, UserValue]
    failure: FailureInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointCall:
    """One recorded use of a checkpoint, or of a flow, in an execution.

    Attributes:
        call_id: `name`, `name-2`, or the `id=` given; unique in its execution.
        name: The checkpoint's name.
        original_call_id: `execution/call` whose result was reused or replaced; None if the body ran.
        parent_call_ids: The calls it followed from.
        attempts: Its tries, in order; none if its result was reused.
        checkpoint_type: The checkpoint's label; `flow` for a flow started inside the flow, `wait` and
            `timer` for `kitaru.wait` and `kitaru.sleep`.
        child_exec_id: The execution of a flow started inside the flow.
        scope: Empty for calls of the flow's own body; `0.2` for the third task of the first.
        position: Where it stands in the flow, as `replay` selects it.
        is_reused: Whether a replay took over what it came to in the execution that is replayed.
        is_overridden: Whether a replay was given its value.
        wakes_at: When a sleep is over.
    """

    call_id: str
    name: str
    status: ExecutionStatus
    started_at: datetime | None
    ended_at: datetime | None
    metadata: Mapping[str, UserValue]
    original_call_id: str | None
    parent_call_ids: tuple[str, ...]
    failure: FailureInfo | None
    attempts: tuple[CheckpointAttempt, ...]
    artifacts: tuple[ArtifactRef, ...]
    checkpoint_type: str | None = None
    child_exec_id: str | None = None
    scope: str = ""
    position: str = ""
    is_reused: bool = False
    is_overridden: bool = False
    wakes_at: datetime | None = None

    @property
    def duration(self) -> timedelta | None:
        """How long it took, its retries included; None while it has not ended."""
        return _between(self.started_at, self.ended_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One durable run of a flow, as it was when it was read.

    Executions from `list` and `latest` are summaries: their checkpoints, artifacts and metadata are
    empty until `refresh`.

    Attributes:
        flow_id: Where the flow's code is: `module:name` or `/path/script.py:name`.
        status_reason: Why it has its status, where the status alone does not say.
        frozen_execution_spec: The configuration it was started with.
        original_exec_id: The execution that it replays.
        parent_exec_id: The execution whose flow started it.
        waits: The questions it has asked, open and over, in that order; of a summary, only the open ones.
        tags: Words given to `.run` or `@flow`.
        recoveries: How often it lost its process and was continued.
        cancel_requested_at: When someone asked for it to be cancelled.
        cancel_requested_by: Who did, such as `user@host`.
    """

    exec_id: str
    flow_id: str | None
    flow_name: str | None
    status: ExecutionStatus
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stack_name: str | None
    metadata: Mapping[str, UserValue]
    status_reason: str | None
    failure: FailureInfo | None
    frozen_execution_spec: Mapping[str, UserValue]
    parent_exec_id: str | None
    original_exec_id: str | None = None
    waits: tuple[PendingWait, ...] = ()
    checkpoints: tuple[CheckpointCall, ...] = ()
    artifacts: tuple[ArtifactRef, ...] = ()
    tags: tuple[str, ...] = ()
    recoveries: int = 0
    cancel_requested_at: datetime | None = None
    cancel_requested_by: str | None = None
    _inputs: StoredValue = field(repr=False, compare=False)
    _result: StoredValue | None = field(repr=False, compare=False)
    _source: Source = field(repr=False, compare=False)

    @property
    def duration(self) -> timedelta | None:
        """How long it took from its first start to its end; None while it has not ended."""
        return _between(self.started_at, self.ended_at)

    @property
    def pending_waits(self) -> tuple[PendingWait, ...]:
        """The questions that are open, the one asked first first."""
        return tuple(wait for wait in self.waits if wait.status is WaitStatus.OPEN)

    @property
    def pending_wait(self) -> PendingWait | None:
        """The question that was asked first of those that are open."""
        pending = self.pending_waits
        return pending[0] if pending else None

    def result(self) -> UserValue:
        """Return what the flow returned.

        Raises:
            KitaruStateError: It has not completed.
        """
        return self._source.load(self._kept_result())

    def describe_result(self) -> UserValue:
        """Return what the result holds as JSON-like values, without running anything."""
        return self._source.describe(self._kept_result())

    def describe_inputs(self) -> UserValue:
        """Return the flow's arguments by name as JSON-like values, without running anything."""
        return self._source.describe(self._inputs)

    def _kept_result(self) -> StoredValue:
        if self._result is None:
            message = (
                f"execution {self.exec_id!r} has no result: it is {self.status.value}."
                f" Look at it with `kitaru executions get {self.exec_id}`."
            )
            raise KitaruStateError(message)
        return self._result

    def refresh(self) -> Execution:
        """Return it as it is now, with checkpoints and artifacts."""
        return self._source.get(self.exec_id)

    def retry(self) -> Execution:
        """Continue it after its failure, as `client.executions.retry` does."""
        return self._source.retry(self.exec_id)

    def recover(self) -> Execution:
        """Continue it after it lost its process, as `client.executions.recover` does."""
        return self._source.recover_one(self.exec_id)

    def cancel(self) -> Execution:
        """Ask for it to be cancelled, as `client.executions.cancel` does."""
        return self._source.cancel(self.exec_id)

    def resume(self) -> Execution:
        """Continue it in this process, as `client.executions.resume` does."""
        return self._source.resume(self.exec_id)

    def replay(
        self,
        *,
        from_: str | None = None,
        at: str | None = None,
        overrides: Mapping[str, UserValue] | None = None,
        code: Literal["current", "recorded"] = "current",
        **flow_inputs: UserValue,
    ) -> Execution:
        """Start a replay of it in this process, as `client.executions.replay` does."""
        return self._source.replay(
            self.exec_id, from_=from_, at=at, overrides=overrides, code=code, **flow_inputs
        )

    def list_checkpoints(self) -> tuple[CheckpointCall, ...]:
        """Return its calls as they are now."""
        return self.refresh().checkpoints

    def list_artifacts(self) -> tuple[ArtifactRef, ...]:
        """Return its artifacts as they are now."""
        return self.refresh().artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line that a run printed or logged.

    Attributes:
        source: `stdout`, `stderr` or `logging`.
        checkpoint_name: Id of the call that wrote it; None for the flow's own body.
        attempt: Which try of the call wrote it.
    """

    message: str
    level: str | None
    timestamp: datetime
    source: str
    checkpoint_name: str | None
    attempt: int | None
    logger: str | None
    module: str | None
    filename: str | None
    lineno: int | None


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    return None if start is None or end is None else end - start
