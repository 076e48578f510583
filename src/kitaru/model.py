"""What the store keeps, as the rest of Kitaru sees it: frozen records (`statuses.py` has their words).

Records name things and carry bytes; nothing here knows SQL, and nothing here holds a user's value.
Moments are microseconds since the epoch, UTC. `kitaru.client` turns records into what users read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, dataclass_transform

from kitaru.errors import FailureOrigin
from kitaru.statuses import (
    AttemptStatus,
    CallKind,
    CallStatus,
    EventKind,
    ExecutionStatus,
    LogSource,
    WaitKind,
    WaitStatus,
)

__all__ = [
    "INLINE_LIMIT", "ArtifactRecord", "AttemptRecord", "AttemptStatus", "Bundle", "CallKind", "CallRecord",
    "CallStatus", "Claim", "Committed", "EventKind", "EventRecord", "ExecutionFilter", "ExecutionRecord",
    "ExecutionStatus", "FailureRecord", "HeldLease", "JournalEntry", "LogLine", "LogSource",
    "MetadataRecord", "NewExecution", "Outcome", "Resolution", "StoredValue", "WaitKind", "WaitRecord",
    "WaitStatus", "Write", "adopt_created", "positional_record", "record",
]  # fmt: skip

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a class a record of keyword fields that nobody assigns to.

    Type checkers hold everyone to that. A dataclass that also refuses assignments at run time takes
    2.5 times as long to make, which is a tenth of what Kitaru itself adds to a checkpoint.
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True)
def positional_record(cls: type[T]) -> type[T]:
    """As `record`, for a few fields whose order everyone knows."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


INLINE_LIMIT = 32 * 1024
"""Values of up to this many bytes lie in their row; larger ones in the blob store, under their digest."""


@positional_record
class StoredValue:
    """An encoded value, or where its bytes lie.

    Attributes:
        codec: Name and version of the codec, such as `kitaru/1`.
        data: The bytes, if they lie in the row.
        digest: Hexadecimal SHA-256 of the bytes, if they lie in the blob store.
        size: Number of bytes.
    """

    codec: str
    data: bytes | None
    digest: str | None
    size: int


@record
class FailureRecord:
    """An exception as it is kept.

    Attributes:
        exception_type: `module.Qualname` of its class.
        message: Its text.
        traceback: As Python prints it, Kitaru's own frames left out.
        origin: Who is to blame.
        exception_codec: Codec of `exception`; empty if the exception could not be encoded.
        exception: The encoded exception, from which the same type is raised again.
        positions: Calls whose exceptions are this one or among its causes, for an execution's failure.
    """

    exception_type: str
    message: str
    traceback: str = ""
    origin: FailureOrigin = FailureOrigin.USER_CODE
    exception_codec: str = ""
    exception: bytes = b""
    positions: tuple[str, ...] = ()


@record
class ExecutionRecord:
    """One execution's row.

    Attributes:
        id: UUID of version 7.
        flow: The flow's name.
        code_ref: `module:qualname` or `/path/script.py:qualname`.
        code_root: Folder that makes `code_ref` importable, empty if Python finds it by itself.
        code_hash: Hash of the flow's source as it was when the execution started.
        epoch: How often it was claimed; every write of a runner carries it.
        lease_owner: The runner's process, while running.
        spec: The frozen execution spec: stack, retries, cache, Python version and so on, as JSON values.
        tags: Free words given at `.run(tags=…)` or on the flow.
        parent_position: Position of the call in the parent that started it.
        idempotency_key: Unique per project and flow.
        cancel_requested_by: Who asked, such as `user@host`.
        recoveries: How often a runner was lost.
        retries_left: How many more times a failure is retried without anyone's doing.
        runnable_at: Not claimed before then.
        status_reason: Why it is in this status, where the status alone does not say.
        origin_id: The execution that this one replays; it may have been deleted since.
        replay_plan: What of it runs again, as JSON values; `engine/replay.py` reads it.
        held_at: When someone stopped it by hand; until it is asked for by name nobody goes on with it.
        launches: How often a process was started for it since it was last claimed.
    """

    id: str
    project: str
    flow: str
    code_ref: str
    code_root: str
    code_hash: str
    status: ExecutionStatus
    epoch: int
    lease_owner: str | None
    lease_expires_at: int | None
    inputs: StoredValue
    result: StoredValue | None
    failure: FailureRecord | None
    stack: str
    spec: Mapping[str, object]
    tags: tuple[str, ...]
    parent_id: str | None
    parent_position: str | None
    idempotency_key: str | None
    cancel_requested_at: int | None
    cancel_requested_by: str | None
    recoveries: int
    max_recoveries: int
    retries_left: int
    runnable_at: int
    created_at: int
    started_at: int | None
    ended_at: int | None
    status_reason: str | None
    origin_id: str | None = None
    replay_plan: Mapping[str, object] | None = None
    held_at: int | None = None
    launches: int = 0


@record
class CallRecord:
    """One journal row: what a call was asked, and what came of it.

    Attributes:
        position: Scope, name and ordinal: `name#1`, `0.2/name#1` inside the third task of the first.
        call_id: What people read and type: `name`, `name-2`, or the `id=` given. Unique per execution.
        type: The checkpoint's free label, such as `llm_call`.
        fingerprint: BLAKE2b of the name and the encoded arguments.
        ordered: Whether program order alone decided that this call stands here.
        upstreams: Positions of the calls that it follows from.
        cache_key: Hash of what a later execution must share to reuse the result; None if not cacheable.
        cached_from: `exec_id/position` of the call whose result was reused (`cached`, `reused`) or
            replaced (`overridden`).
        epoch: Under which claim it was recorded.
    """

    position: str
    call_id: str
    name: str
    kind: CallKind
    type: str | None
    fingerprint: bytes
    ordered: bool
    status: CallStatus
    inputs: StoredValue | None
    output: StoredValue | None
    failure: FailureRecord | None
    upstreams: tuple[str, ...]
    cache_key: bytes | None
    cached_from: str | None
    epoch: int
    started_at: int
    ended_at: int | None


@record
class AttemptRecord:
    """One failed attempt of a call; `number` counts from 1 over all claims.

    Attributes:
        next_at: When the next attempt was to begin; None after the last one.
        most: How many attempts there may be, counted as `number` is; None after the last one.
    """

    position: str
    number: int
    status: AttemptStatus
    started_at: int
    ended_at: int
    failure: FailureRecord
    next_at: int | None = None
    most: int | None = None


@record
class ArtifactRecord:
    """A value saved under a name; `attempt_failed` marks what a failed attempt left behind."""

    id: str
    position: str
    attempt: int
    name: str
    kind: str
    tags: tuple[str, ...]
    value: StoredValue
    attempt_failed: bool
    created_at: int


@record
class MetadataRecord:
    """A logged value as JSON text; `position` is empty for the execution's own."""

    position: str
    key: str
    value: str


@record
class EventRecord:
    """A fact for watchers; the engine never reads it. `payload` is JSON text."""

    kind: str
    position: str
    payload: str
    created_at: int


@record
class WaitRecord:
    """What an execution waits for, and what came of it.

    Attributes:
        position: Of the call that waits; each has at most one row.
        wait_id: What people read and type: the call's id.
        schema: JSON Schema of the answer, as JSON text; None for a gate, which is only continued or aborted.
        metadata: What the flow adds for those who answer, as JSON text.
        wake_at: When the wait ends by itself: the moment of a timer, the expiry of a question.
        child_id: The execution whose end is waited for.
        asked_by: The process that asked (`Owner`), which may still be there to go on.
        problem: Why the flow did not accept the answer before; the question is open again.
        answer: JSON text.
        resolved_by: Who answered or aborted, such as `user@host`.
        resolved_via: From where: `prompt`, `cli`, `client`, `handle`, with the process.
    """

    exec_id: str
    position: str
    wait_id: str
    name: str
    kind: WaitKind
    status: WaitStatus = WaitStatus.OPEN
    question: str | None = None
    schema: str | None = None
    metadata: str = "{}"
    wake_at: int | None = None
    child_id: str | None = None
    asked_by: str = ""
    problem: str | None = None
    created_at: int
    answer: str | None = None
    resolved_at: int | None = None
    resolved_by: str | None = None
    resolved_via: str | None = None


@record
class Resolution:
    """What someone says to an open wait: an answer (`answered`) or that it is aborted (`aborted`)."""

    status: WaitStatus
    answer: str | None
    by: str
    via: str


@record
class LogLine:
    """One captured line; `position` is empty for what the flow's own body wrote."""

    exec_id: str
    position: str
    attempt: int
    source: LogSource
    level: str | None
    logger: str | None
    message: str
    module: str | None
    filename: str | None
    lineno: int | None
    logged_at: int


@record
class NewExecution:
    """An execution to create.

    Attributes:
        claim: Claim it for this owner in the same commit; None leaves it pending.
        parent_epoch: The parent's claim under which the child is created; its loss refuses the child.
        parent_call: The parent's journal row for this child, written in the same commit; None if the
            child is started inside a checkpoint's body, whose own record is the journal's business.
        origin_id: The execution that it replays.
        calls: Journal rows to write in the same commit: the overridden calls of a replay.
    """

    id: str
    project: str
    flow: str
    code_ref: str
    code_root: str
    code_hash: str
    inputs: StoredValue
    stack: str
    spec: Mapping[str, object]
    tags: tuple[str, ...] = ()
    parent_id: str | None = None
    parent_position: str | None = None
    parent_epoch: int | None = None
    parent_call: CallRecord | None = None
    idempotency_key: str | None = None
    origin_id: str | None = None
    replay_plan: Mapping[str, object] | None = None
    calls: tuple[CallRecord, ...] = ()
    max_recoveries: int = 10
    retries_left: int = 0
    created_at: int
    claim: Claim | None = None


@record
class Claim:
    """Who claims, and until when the lease holds if it is not renewed."""

    owner: str
    lease_expires_at: int


@record
class Outcome:
    """How a claim of an execution ends.

    `completed` carries a result, `failed` a failure; `pending` gives the execution back for someone to
    go on with, not before `runnable_at`; with `held_at`, only for whoever asks for it by name, because
    someone has stopped it by hand. `pending` with a failure is an automatic retry: it spends one of
    `retries_left` and makes the failed calls at `reopen` pending. `waiting` parks it until one of the waits
    at `waits_for` is no longer open; if one is not open any more by now, it becomes `pending` instead.
    """

    status: ExecutionStatus
    result: StoredValue | None = None
    failure: FailureRecord | None = None
    reason: str | None = None
    runnable_at: int | None = None
    held_at: int | None = None
    ended_at: int | None = None
    reopen: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()


@record
class JournalEntry:
    """What one claim of one execution commits at once, or not at all.

    The store writes it only while `epoch` is the execution's present epoch and its status is `running`.
    """

    exec_id: str
    epoch: int
    calls: tuple[CallRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    metadata: tuple[MetadataRecord, ...] = ()
    events: tuple[EventRecord, ...] = ()
    waits: tuple[WaitRecord, ...] = ()
    outcome: Outcome | None = None


Write = JournalEntry | NewExecution


@positional_record
class Committed:
    """What became of one `Write`.

    Attributes:
        held: False if nothing was written because another claim holds the execution, or none does.
        cancel_requested: Whether someone has asked for the execution to be cancelled.
        execution: For a `NewExecution`: the row, new or already there.
        created: For a `NewExecution`: whether the row is new.
    """

    held: bool
    cancel_requested: bool = False
    execution: ExecutionRecord | None = None
    created: bool = False


def adopt_created(writes: Sequence[Write], committed: Sequence[Committed]) -> list[Committed]:
    """Return the outcomes of writes that were tried again because it was not known what became of them.

    An execution that is there under the very id that it was to have is this creation's own.
    """
    return [
        replace(outcome, created=True)
        if isinstance(write, NewExecution)
        and outcome.execution is not None
        and outcome.execution.id == write.id
        else outcome
        for write, outcome in zip(writes, committed, strict=True)
    ]


@positional_record
class HeldLease:
    """A lease that was renewed."""

    exec_id: str
    epoch: int
    cancel_requested: bool


@record
class ExecutionFilter:
    """Which executions to list; None leaves a field open.

    Attributes:
        metadata: Keys and JSON texts that the execution's own metadata must have.
    """

    project: str
    flow: str | None = None
    status: ExecutionStatus | None = None
    stack: str | None = None
    tag: str | None = None
    parent_id: str | None = None
    origin_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@record
class Bundle:
    """Everything that a store has of one execution, as it is exported and imported."""

    execution: ExecutionRecord
    calls: tuple[CallRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    metadata: tuple[MetadataRecord, ...] = ()
    waits: tuple[WaitRecord, ...] = ()
    events: tuple[EventRecord, ...] = ()
    logs: tuple[LogLine, ...] = ()
