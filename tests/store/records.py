"""Records for tests, complete but for what a test is about."""

from __future__ import annotations

from itertools import count
from typing import Any

from kitaru.errors import FailureOrigin
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    CallKind,
    CallRecord,
    CallStatus,
    Claim,
    Committed,
    EventRecord,
    ExecutionRecord,
    ExecutionStatus,
    FailureRecord,
    JournalEntry,
    LogLine,
    LogSource,
    MetadataRecord,
    NewExecution,
    Outcome,
    Resolution,
    StoredValue,
    WaitKind,
    WaitRecord,
    WaitStatus,
)
from kitaru.store import Store

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
LEASE = 8 * SECOND

INLINE = StoredValue("kitaru/1", b"\x05", None, 1)
BLOB = StoredValue("kitaru/1", None, "ab" * 32, 100_000)

FAILURE = FailureRecord(
    exception_type="builtins.ValueError",
    message="no",
    traceback="Traceback ...",
    origin=FailureOrigin.USER_CODE,
    exception_codec="pickle/1",
    exception=b"\x80\x00\xff",
    positions=("fetch#1",),
)

WITH_OUTPUT = {CallStatus.COMPLETED, CallStatus.CACHED, CallStatus.REUSED, CallStatus.OVERRIDDEN}

_numbers = count(1)


def exec_id() -> str:
    """Return an id that sorts after all earlier ones."""
    return f"0190aaaa-0000-7000-8000-{next(_numbers):012x}"


def claim(owner: str = "owner-1", now: int = NOW) -> Claim:
    return Claim(owner=owner, lease_expires_at=now + LEASE)


def new_execution(**fields: Any) -> NewExecution:
    given: dict[str, Any] = {
        "id": exec_id(),
        "project": "default",
        "flow": "research",
        "code_ref": "flows:research",
        "code_root": "/src",
        "code_hash": "c0de",
        "inputs": INLINE,
        "stack": "local",
        "spec": {"stack": "local", "retries": 0, "tags": ["a"], "image": None},
        "created_at": NOW,
        **fields,
    }
    return NewExecution(**given)


def call(position: str = "fetch#1", **fields: Any) -> CallRecord:
    status = fields.get("status", CallStatus.COMPLETED)
    given: dict[str, Any] = {
        "position": position,
        "call_id": position.replace("#", "-"),
        "name": position.split("#", maxsplit=1)[0],
        "kind": CallKind.CHECKPOINT,
        "type": None,
        "fingerprint": b"f" * 32,
        "ordered": True,
        "status": status,
        "inputs": None,
        "output": INLINE if status in WITH_OUTPUT else None,
        "failure": FAILURE if status is CallStatus.FAILED else None,
        "upstreams": (),
        "cache_key": None,
        "cached_from": None,
        "epoch": 1,
        "started_at": NOW,
        "ended_at": NOW if CallStatus(status).is_recorded else None,
        **fields,
    }
    return CallRecord(**given)


def attempt(position: str = "fetch#1", number: int = 1, **fields: Any) -> AttemptRecord:
    given: dict[str, Any] = {
        "position": position,
        "number": number,
        "status": AttemptStatus.FAILED,
        "started_at": NOW,
        "ended_at": NOW + 1,
        "failure": FAILURE,
        "next_at": NOW + 5,
        "most": 3,
        **fields,
    }
    return AttemptRecord(**given)


def artifact(**fields: Any) -> ArtifactRecord:
    given: dict[str, Any] = {
        "id": exec_id(),
        "position": "fetch#1",
        "attempt": 1,
        "name": "page",
        "kind": "data",
        "tags": ("raw", "web"),
        "value": INLINE,
        "attempt_failed": False,
        "created_at": NOW,
        **fields,
    }
    return ArtifactRecord(**given)


def metadata(key: str = "tokens", value: str = "12", position: str = "") -> MetadataRecord:
    return MetadataRecord(position=position, key=key, value=value)


def event(kind: str = "progress", **fields: Any) -> EventRecord:
    given: dict[str, Any] = {"position": "", "payload": "{}", "created_at": NOW, **fields}
    return EventRecord(kind=kind, **given)


def log_line(in_execution: str, message: str = "hello", **fields: Any) -> LogLine:
    given: dict[str, Any] = {
        "position": "",
        "attempt": 1,
        "source": LogSource.STDOUT,
        "level": None,
        "logger": None,
        "module": None,
        "filename": None,
        "lineno": None,
        "logged_at": NOW,
        **fields,
    }
    return LogLine(exec_id=in_execution, message=message, **given)


def entry(execution: ExecutionRecord, *calls: CallRecord, **fields: Any) -> JournalEntry:
    """Return an entry under the claim that `execution` shows."""
    given: dict[str, Any] = {"exec_id": execution.id, "epoch": execution.epoch, **fields}
    return JournalEntry(calls=calls, **given)


def question(
    execution: ExecutionRecord, position: str = "wait:approve#1", **fields: Any
) -> WaitRecord:
    given: dict[str, Any] = {
        "wait_id": position.removeprefix("wait:").replace("#", "-"),
        "name": "approve",
        "kind": WaitKind.INPUT,
        "question": "Go on?",
        "schema": '{"type":"boolean"}',
        "metadata": '{"cost":3}',
        "asked_by": "owner-1",
        "created_at": NOW,
        **fields,
    }
    return WaitRecord(exec_id=execution.id, position=position, **given)


def timer(execution: ExecutionRecord, position: str = "timer:sleep#1", **fields: Any) -> WaitRecord:
    given: dict[str, Any] = {
        "wait_id": "sleep",
        "name": "sleep",
        "kind": WaitKind.TIMER,
        "created_at": NOW,
        **fields,
    }
    return WaitRecord(exec_id=execution.id, position=position, **given)


def child_wait(
    execution: ExecutionRecord, child_id: str, position: str = "result:child#1", **fields: Any
) -> WaitRecord:
    given: dict[str, Any] = {
        "wait_id": "child",
        "name": "child",
        "kind": WaitKind.CHILD,
        "child_id": child_id,
        "created_at": NOW,
        **fields,
    }
    return WaitRecord(exec_id=execution.id, position=position, **given)


def parked(*positions: str, **fields: Any) -> Outcome:
    return Outcome(status=ExecutionStatus.WAITING, waits_for=positions, **fields)


def answered(answer: str | None = "true", *, by: str = "me@here", via: str = "cli") -> Resolution:
    return Resolution(status=WaitStatus.ANSWERED, answer=answer, by=by, via=via)


ABORTED = Resolution(status=WaitStatus.ABORTED, answer=None, by="me@here", via="cli")


def park(store: Store, *waits: WaitRecord, execution: ExecutionRecord) -> ExecutionRecord:
    """Let a running execution wait for these and return it."""
    positions = [wait.position for wait in waits]
    commit_one(store, entry(execution, waits=waits, outcome=parked(*positions)))
    return store.get_execution(execution.id)


def completed(now: int = NOW) -> Outcome:
    return Outcome(status=ExecutionStatus.COMPLETED, result=INLINE, ended_at=now)


def failed(now: int = NOW) -> Outcome:
    return Outcome(status=ExecutionStatus.FAILED, failure=FAILURE, ended_at=now)


def ended(status: ExecutionStatus, now: int = NOW) -> Outcome:
    match status:
        case ExecutionStatus.COMPLETED:
            return completed(now)
        case ExecutionStatus.FAILED:
            return failed(now)
        case ExecutionStatus.CANCELLED:
            return Outcome(status=status, ended_at=now)
        case _:
            return Outcome(status=status)


def create(store: Store, **fields: Any) -> ExecutionRecord:
    """Return a new pending execution."""
    committed = commit_one(store, new_execution(**fields))
    assert committed.execution is not None
    return committed.execution


def run(store: Store, **fields: Any) -> ExecutionRecord:
    """Return a new execution that is claimed."""
    return create(store, **{"claim": claim(), **fields})


def finish(
    store: Store, status: ExecutionStatus = ExecutionStatus.COMPLETED, **fields: Any
) -> ExecutionRecord:
    """Return a new execution that has ended so."""
    execution = run(store, **fields)
    commit_one(store, entry(execution, outcome=ended(status)))
    return store.get_execution(execution.id)


def commit_one(store: Store, write: NewExecution | JournalEntry) -> Committed:
    [committed] = store.commit([write])
    return committed
