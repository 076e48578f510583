"""Executions written straight into a store, as a runner would leave them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from kitaru import codec
from kitaru.errors import FailureOrigin
from kitaru.ids import new_id
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    CallKind,
    CallRecord,
    CallStatus,
    Claim,
    ExecutionRecord,
    ExecutionStatus,
    FailureRecord,
    JournalEntry,
    LogLine,
    LogSource,
    MetadataRecord,
    NewExecution,
    Outcome,
    StoredValue,
    WaitKind,
    WaitRecord,
)
from kitaru.store import Store

START = 1_767_225_600_000_000  # 2026-01-01
SECOND = 1_000_000


def _fields(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


def kept(value: Any) -> StoredValue:
    encoded = codec.encode(value)
    return StoredValue(encoded.codec, encoded.data, None, len(encoded.data))


def failure(message: str = "bad input", **fields: Any) -> FailureRecord:
    return FailureRecord(
        exception_type="builtins.ValueError",
        message=message,
        traceback=f'Traceback (most recent call last):\n  File "app.py"\nValueError: {message}\n',
        origin=FailureOrigin.USER_CODE,
        **fields,
    )


@dataclass
class Book:
    """Writes one execution; times are seconds after its start."""

    store: Store
    execution: ExecutionRecord

    @property
    def id(self) -> str:
        return self.execution.id

    @classmethod
    def begin(cls, store: Store, flow: str = "audit", *, at: float = 0, **fields: Any) -> Book:
        moment = START + int(at * SECOND)
        new = NewExecution(
            **_fields(
                {
                    "id": new_id(),
                    "project": "default",
                    "flow": flow,
                    "code_ref": f"app.flows:{flow}",
                    "code_root": "",
                    "code_hash": "c0de",
                    "inputs": kept({"topic": "owls"}),
                    "stack": "local",
                    "spec": {"stack": "local", "retries": 0},
                    "created_at": moment,
                    "claim": Claim(owner="someone", lease_expires_at=moment + 10**15),
                    **fields,
                }
            )
        )
        [committed] = store.commit([new])
        assert committed.execution is not None
        return cls(store, committed.execution)

    def call(
        self, name: str, *, at: float = 1, seconds: float | None = 0.5, **fields: Any
    ) -> CallRecord:
        attempts = fields.pop("attempts", ())
        saved = fields.pop("saved", ())
        metadata = fields.pop("metadata", {})
        position = fields.get("position", f"{name}#1")
        started = START + int(at * SECOND)
        record = CallRecord(
            **_fields(
                {
                    "position": position,
                    "call_id": name,
                    "name": name,
                    "kind": CallKind.CHECKPOINT,
                    "type": None,
                    "fingerprint": b"f",
                    "ordered": True,
                    "status": CallStatus.COMPLETED if seconds is not None else CallStatus.RUNNING,
                    "inputs": None,
                    "output": None,
                    "failure": None,
                    "upstreams": (),
                    "cache_key": None,
                    "cached_from": None,
                    "epoch": self.execution.epoch,
                    "started_at": started,
                    "ended_at": None if seconds is None else started + int(seconds * SECOND),
                    **fields,
                }
            )
        )
        if record.status in {CallStatus.COMPLETED, CallStatus.CACHED} and record.output is None:
            record = dataclasses.replace(record, output=kept(f"result of {name}"))
        self.write(
            calls=(record,),
            attempts=tuple(attempts),
            artifacts=tuple(saved),
            metadata=tuple(
                MetadataRecord(position=position, key=key, value=value)
                for key, value in metadata.items()
            ),
        )
        return record

    def ask(
        self, name: str = "approve", *, at: float = 1, leaves: bool = True, **fields: Any
    ) -> None:
        """Ask a question; the execution leaves its process for it, if that is all it does."""
        position = f"wait:{name}#1"
        wait = WaitRecord(
            **_fields(
                {
                    "exec_id": self.id,
                    "position": position,
                    "wait_id": name,
                    "name": name,
                    "kind": WaitKind.INPUT,
                    "question": "Ship it?",
                    "schema": '{"type":"boolean"}',
                    "created_at": START + int(at * SECOND),
                    **fields,
                }
            )
        )
        self.call(name, at=at, seconds=None, position=position, kind=CallKind.WAIT, type="wait")
        outcome = Outcome(
            status=ExecutionStatus.WAITING,
            reason=f"waiting for {name!r}",
            waits_for=(position,),
        )
        self.write(waits=(wait,), outcome=outcome if leaves else None)

    def failed_attempt(
        self, position: str, number: int, *, at: float, next_in: float | None = None
    ) -> AttemptRecord:
        started = START + int(at * SECOND)
        ended = started + SECOND // 10
        return AttemptRecord(
            position=position,
            number=number,
            status=AttemptStatus.FAILED,
            started_at=started,
            ended_at=ended,
            failure=failure(f"try {number}"),
            next_at=None if next_in is None else ended + int(next_in * SECOND),
            most=None if next_in is None else 5,
        )

    def artifact(self, position: str, name: str, value: Any, **fields: Any) -> ArtifactRecord:
        return ArtifactRecord(
            **_fields(
                {
                    "id": f"id-of-{name}",
                    "position": position,
                    "attempt": 1,
                    "name": name,
                    "kind": "report",
                    "tags": ("draft",),
                    "value": kept(value),
                    "attempt_failed": False,
                    "created_at": START + SECOND,
                    **fields,
                }
            )
        )

    def end(self, status: ExecutionStatus, *, at: float = 4, **fields: Any) -> str:
        if status is ExecutionStatus.COMPLETED:
            fields.setdefault("result", kept({"owls": 3}))
        if status is ExecutionStatus.FAILED:
            fields.setdefault("failure", failure())
        ended_at = START + int(at * SECOND)
        self.write(outcome=Outcome(status=status, ended_at=ended_at, **fields))
        return self.id

    def write(self, **fields: Any) -> None:
        entry = JournalEntry(exec_id=self.id, epoch=self.execution.epoch, **fields)
        [committed] = self.store.commit([entry])
        assert committed.held

    def log(self, message: str, *, position: str = "", **fields: Any) -> None:
        line = LogLine(
            **_fields(
                {
                    "exec_id": self.id,
                    "position": position,
                    "attempt": 1,
                    "source": LogSource.STDOUT,
                    "level": None,
                    "logger": None,
                    "message": message,
                    "module": None,
                    "filename": None,
                    "lineno": None,
                    "logged_at": START + SECOND,
                    **fields,
                }
            )
        )
        self.store.append_logs([line])
