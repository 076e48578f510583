"""Which failed calls and children a retry of a failed execution runs again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kitaru.errors import KitaruStateError
from kitaru.model import CallKind, CallRecord, CallStatus, ExecutionStatus, FailureRecord

if TYPE_CHECKING:
    from kitaru.engine.run import Services
    from kitaru.model import ExecutionRecord


def retry_failed(services: Services, exec_id: str) -> ExecutionRecord:
    """Make a failed execution pending, and with it what led to its failure.

    Durability: one transaction for each failed child, and the last for the execution itself. A crash
    between them leaves the execution failed, to be retried again; the children are pending by then, and
    recoverable like any others.

    Raises:
        KitaruStateError: It is not failed.
        KitaruNotFoundError: There is no such execution.
    """
    execution = services.store.get_execution(exec_id)
    reopen: list[str] = []
    if execution.status is ExecutionStatus.FAILED:
        reopen = reopen_failed(services, exec_id, execution.failure)
    return services.store.retry_execution(exec_id, reopen=reopen, now=services.clock.now())


def reopen_failed(services: Services, exec_id: str, failure: FailureRecord | None) -> list[str]:
    """Make the failed children that led to a failure pending; return the failed calls that did.

    Children come before what waits for them, so that a parent that runs again never meets the failure
    that it is retried for.
    """
    calls = services.store.list_calls(exec_id)
    suspects = list(led_to(failure, calls))
    for call in suspects:
        if call.kind is CallKind.CHILD and call.output is not None:
            child = services.store.get_execution(services.values.load(call.output))
            if child.status is ExecutionStatus.FAILED:
                with contextlib.suppress(KitaruStateError):  # someone else was faster
                    retry_failed(services, child.id)
    return [
        call.position
        for call in suspects
        if call.kind in {CallKind.CHECKPOINT, CallKind.WAIT} and call.status is CallStatus.FAILED
    ]


def led_to(failure: FailureRecord | None, calls: Sequence[CallRecord]) -> Iterator[CallRecord]:
    """Yield the calls that led to a failure if they failed themselves.

    These are the calls whose exception the flow failed of, directly or as a cause, children whose end it
    had not heard of, and calls that nothing recorded followed from, such as the siblings of a failed one
    in a fan-out. A failure that the flow caught and went on from stays as it is, so that a retry takes
    the same path again.
    """
    blamed = set(failure.positions) if failure is not None else set[str]()
    followed = {upstream for call in calls for upstream in call.upstreams}
    for call in calls:
        if call.position in blamed or call.position not in followed:
            yield call
