"""How flows have fared, as the client tells it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kitaru.client import (
    CheckpointStatistics,
    ExecutionStatistics,
    ExecutionStatus,
    FlowStatistics,
    KitaruClient,
    SpanStatistics,
    WaitStatistics,
    shapes,
)
from kitaru.client.connection import Connection
from kitaru.client.statistics import gather
from kitaru.errors import KitaruUsageError
from kitaru.model import CallStatus, Resolution, WaitKind, WaitRecord, WaitStatus
from kitaru.settings import current
from kitaru.store import Store
from kitaru.testing import FakeClock
from tests.client.journal import SECOND, START, Book, failure

NOTHING = dict.fromkeys(ExecutionStatus, 0)


def spans(count: int, mean: float, median: float, p95: float, longest: float) -> SpanStatistics:
    return SpanStatistics(
        count=count, mean_seconds=mean, median_seconds=median, p95_seconds=p95, max_seconds=longest
    )


def test_statistics_tell_how_each_flow_has_fared(store: Store, client: KitaruClient) -> None:
    first = Book.begin(store)
    tries = [first.failed_attempt("fetch#1", 1, at=1)]
    first.call("fetch", seconds=2, attempts=tries)
    first.call("parse", status=CallStatus.FAILED, failure=failure())
    first.write(
        waits=(
            WaitRecord(
                exec_id=first.id,
                position="wait:ok#1",
                wait_id="ok",
                name="ok",
                kind=WaitKind.INPUT,
                created_at=START,
            ),
        )
    )
    answer = Resolution(status=WaitStatus.ANSWERED, answer="null", by="me", via="cli")
    store.resolve_wait(first.id, "wait:ok#1", answer, now=START + 90 * SECOND)
    first.end(ExecutionStatus.COMPLETED, at=4)
    Book.begin(store).end(ExecutionStatus.COMPLETED, at=10)
    Book.begin(store).end(ExecutionStatus.FAILED)
    Book.begin(store, "nightly", claim=None)

    found = client.executions.statistics()

    assert found == ExecutionStatistics(
        project="default",
        since=None,
        flows=(
            FlowStatistics(
                flow_name="audit",
                executions=3,
                by_status={**NOTHING, ExecutionStatus.COMPLETED: 2, ExecutionStatus.FAILED: 1},
                success_rate=2 / 3,
                durations=spans(2, 7.0, 7.0, 10.0, 10.0),
                recoveries=0,
                waits=WaitStatistics(
                    asked=1,
                    answered=1,
                    aborted=0,
                    expired=0,
                    time_to_answer=spans(1, 90.0, 90.0, 90.0, 90.0),
                ),
                checkpoints=(
                    CheckpointStatistics(
                        name="fetch",
                        calls=1,
                        failed=0,
                        cached=0,
                        reused=0,
                        failed_attempts=1,
                        durations=spans(1, 2.0, 2.0, 2.0, 2.0),
                    ),
                    CheckpointStatistics(
                        name="parse",
                        calls=1,
                        failed=1,
                        cached=0,
                        reused=0,
                        failed_attempts=0,
                        durations=None,
                    ),
                ),
            ),
            FlowStatistics(
                flow_name="nightly",
                executions=1,
                by_status={**NOTHING, ExecutionStatus.PENDING: 1},
                success_rate=None,
                durations=None,
                recoveries=0,
                waits=WaitStatistics(
                    asked=0, answered=0, aborted=0, expired=0, time_to_answer=None
                ),
                checkpoints=(),
            ),
        ),
    )
    assert found.executions == 4


def test_statistics_are_of_one_flow_since_a_moment(store: Store, client: KitaruClient) -> None:
    for at in (0, 10, 20):
        Book.begin(store, at=at)
    Book.begin(store, "nightly", at=20)

    found = client.executions.statistics(
        flow="audit", since=datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
    )

    assert [(flow.flow_name, flow.executions) for flow in found.flows] == [("audit", 2)]
    assert found.since == datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)


def test_span_reaches_back_from_now(store: Store) -> None:
    for at in (0, 10, 20):
        Book.begin(store, at=at)
    clock = FakeClock()
    clock.advance(25)

    found = gather(Connection(current()), clock, flow=None, since=timedelta(seconds=15))

    assert found.executions == 2
    assert found.since == datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)


@pytest.mark.parametrize("since", [datetime(2026, 1, 1), 3600, "yesterday"])  # noqa: DTZ001 - the error itself
def test_moment_without_a_zone_is_refused(client: KitaruClient, since: object) -> None:
    with pytest.raises(KitaruUsageError, match="expected `since` to be a `datetime` with a time"):
        client.executions.statistics(since=since)  # pyright: ignore[reportArgumentType] - the error itself


def test_span_into_the_future_is_refused(client: KitaruClient) -> None:
    with pytest.raises(KitaruUsageError, match="expected `since` to reach back from now"):
        client.executions.statistics(since=timedelta(seconds=-1))


def test_span_longer_than_history_takes_everything(store: Store, client: KitaruClient) -> None:
    Book.begin(store)

    found = client.executions.statistics(since=timedelta.max)

    assert (found.executions, found.since) == (1, datetime(1970, 1, 1, tzinfo=UTC))


def test_unknown_flow_has_no_statistics(store: Store, client: KitaruClient) -> None:
    Book.begin(store)

    assert client.executions.statistics(flow="nope").flows == ()


def test_statistics_as_json_have_a_stable_shape(store: Store, client: KitaruClient) -> None:
    book = Book.begin(store)
    book.call("fetch", seconds=2)
    book.end(ExecutionStatus.COMPLETED, at=4)

    two = {"mean_seconds": 2.0, "median_seconds": 2.0, "p95_seconds": 2.0, "max_seconds": 2.0}
    assert shapes.statistics(client.executions.statistics()) == {
        "project": "default",
        "since": None,
        "executions": 1,
        "flows": [
            {
                "flow_name": "audit",
                "executions": 1,
                "by_status": {
                    "pending": 0,
                    "running": 0,
                    "waiting": 0,
                    "completed": 1,
                    "failed": 0,
                    "cancelled": 0,
                },
                "success_rate": 1.0,
                "durations": {"count": 1, **dict.fromkeys(two, 4.0)},
                "recoveries": 0,
                "waits": {
                    "asked": 0,
                    "answered": 0,
                    "aborted": 0,
                    "expired": 0,
                    "time_to_answer": None,
                },
                "checkpoints": [
                    {
                        "name": "fetch",
                        "calls": 1,
                        "failed": 0,
                        "cached": 0,
                        "reused": 0,
                        "failed_attempts": 0,
                        "durations": {"count": 1, **two},
                    }
                ],
            }
        ],
    }
