"""What it takes to claim the only execution that is pending, made and ended past the engine."""

from __future__ import annotations

import time

from benchmarks import flows
from kitaru import settings
from kitaru.clock import SYSTEM_CLOCK
from kitaru.ids import new_id
from kitaru.model import (
    Claim,
    ExecutionRecord,
    ExecutionStatus,
    JournalEntry,
    NewExecution,
    Outcome,
)
from kitaru.worker import local_runner

_OWNER = "claiming"
_LEASE_MICROSECONDS = 60_000_000


def claims(count: int) -> float:
    """Return the seconds that each of `count` claims took, one after the other."""
    store = local_runner(settings.current()).store
    handle = flows.one_step.run(0)
    handle.wait()
    template = store.get_execution(handle.exec_id)
    seconds = 0.0
    for _ in range(count):
        store.commit([pending_copy(template)])
        now = SYSTEM_CLOCK.now()
        claim = Claim(owner=_OWNER, lease_expires_at=now + _LEASE_MICROSECONDS)
        began = time.perf_counter()
        [claimed] = store.claim_executions(claim, now=now, limit=1)
        seconds += time.perf_counter() - began
        outcome = Outcome(
            status=ExecutionStatus.COMPLETED, result=template.result, ended_at=SYSTEM_CLOCK.now()
        )
        store.commit([JournalEntry(exec_id=claimed.id, epoch=claimed.epoch, outcome=outcome)])
    return seconds / count


def pending_copy(execution: ExecutionRecord) -> NewExecution:
    """Return what creates an execution like this one that nobody runs."""
    return NewExecution(
        id=new_id(),
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
        created_at=SYSTEM_CLOCK.now(),
    )
