"""Stores with many executions in them, written past the engine, in large transactions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from benchmarks import flows
from kitaru import settings
from kitaru.ids import new_id
from kitaru.model import (
    CallRecord,
    Claim,
    ExecutionRecord,
    JournalEntry,
    NewExecution,
    Outcome,
    Write,
)
from kitaru.worker import local_runner

_CALLS = 10
_WRITES = 500


def fill(count: int) -> float:
    """Bring the store to `count` completed executions of ten calls each, copies of a real one."""
    store = local_runner(settings.current()).store
    handle = flows.sequence.run(_CALLS)
    handle.wait()
    execution, calls = store.get_execution(handle.exec_id), store.list_calls(handle.exec_id)
    writes = _copies(execution, tuple(calls), count - 1)
    while batch := list(islice(writes, _WRITES)):
        store.commit(batch)
    return 0.0


def _copies(
    execution: ExecutionRecord, calls: tuple[CallRecord, ...], count: int
) -> Iterator[Write]:
    for _ in range(count):
        exec_id = new_id()
        yield NewExecution(
            id=exec_id,
            project=execution.project,
            flow=execution.flow,
            code_ref=execution.code_ref,
            code_root=execution.code_root,
            code_hash=execution.code_hash,
            inputs=execution.inputs,
            stack=execution.stack,
            spec=execution.spec,
            tags=execution.tags,
            max_recoveries=execution.max_recoveries,
            retries_left=execution.retries_left,
            created_at=execution.created_at,
            claim=Claim(owner="filling", lease_expires_at=execution.created_at + 60_000_000),
        )
        outcome = Outcome(
            status=execution.status, result=execution.result, ended_at=execution.ended_at
        )
        yield JournalEntry(exec_id=exec_id, epoch=1, calls=calls, outcome=outcome)
