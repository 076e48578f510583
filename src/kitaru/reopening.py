"""Which failed calls and children a retry of a failed execution runs again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from kitaru.errors import KitaruStateError
from kitaru.model import (
    CallKind,
    CallRecord,
    CallStatus,
    ExecutionRecord,
    ExecutionStatus,
    FailureRecord,
    StoredValue,
)
from kitaru.store.contract import Store


def retry_failed(
    store: Store, exec_id: str, *, now: int, read_id: Callable[[StoredValue], str]
) -> ExecutionRecord:
    """Make a failed execution pending, and with it what led to its failure.

    `read_id` returns the id that a call which started a child has recorded.

    Durability: one transaction for each failed child, and the last for the execution itself. A crash
    between them leaves the execution failed, to be retried again; the children are pending by then, and
    recoverable like any others.

    Raises:
        KitaruStateError: It is not failed.
        KitaruNotFoundError: There is no such execution.
    """
    execution = store.get_execution(exec_id)
    reopen: list[str] = []
    if execution.status is ExecutionStatus.FAILED:
        reopen = reopen_failed(store, exec_id, execution.failure, now=now, read_id=read_id)
    return store.retry_execution(exec_id, reopen=reopen, now=now)


def reopen_failed(
    store: Store,
    exec_id: str,
    failure: FailureRecord | None,
    *,
    now: int,
    read_id: Callable[[StoredValue], str],
) -> list[str]:
    """Make the failed children that led to a failure pending; return the failed calls that did.

    Children come before what waits for them, so that a parent that runs again never meets the failure
    that it is retried for.
    """
    calls = store.list_calls(exec_id)
    suspects = list(led_to(failure, calls))
    for call in suspects:
        if call.kind is CallKind.CHILD and call.output is not None:
            child = store.get_execution(read_id(call.output))
            if child.status is ExecutionStatus.FAILED:
                with contextlib.suppress(KitaruStateError):  # someone else was faster
                    retry_failed(store, child.id, now=now, read_id=read_id)
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
