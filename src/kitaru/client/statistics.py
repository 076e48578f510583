"""How a project's flows have fared: counts, rates and spans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kitaru.client.connection import Connection
from kitaru.clock import MICROSECONDS, Clock, from_datetime, to_datetime
from kitaru.errors import KitaruUsageError
from kitaru.figures import CheckpointFigures, FlowFigures, SpanFigures
from kitaru.model import ExecutionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanStatistics:
    """How long some things took, in seconds.

    Attributes:
        count: How many were measured.
        p95_seconds: 95 of 100 took at most so long.
    """

    count: int
    mean_seconds: float
    median_seconds: float
    p95_seconds: float
    max_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitStatistics:
    """The questions that a flow's executions have asked.

    Attributes:
        asked: How many.
        answered: How many of them were answered.
        aborted: How many someone aborted.
        expired: How many nobody answered in time.
        time_to_answer: How long that took; None if none was.
    """

    asked: int
    answered: int
    aborted: int
    expired: int
    time_to_answer: SpanStatistics | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointStatistics:
    """The calls of one checkpoint in one flow's executions.

    Attributes:
        calls: How many there were, however they stand.
        failed: How many failed in the end.
        cached: How many have the result of a call of any execution that had the same inputs.
        reused: How many a replay took over from its origin, or was given.
        failed_attempts: How many tries failed, the last ones of failed calls included.
        durations: How long those took whose body returned, with their retries; None if none did.
    """

    name: str
    calls: int
    failed: int
    cached: int
    reused: int
    failed_attempts: int
    durations: SpanStatistics | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStatistics:
    """One flow's executions.

    Attributes:
        executions: How many there are.
        by_status: How many stand where; every status is there.
        success_rate: Which part of those that completed or failed has completed; None if none has.
        durations: How long those took that have completed, from their first start, waits included.
        recoveries: How often they lost their process and were continued, all together.
        checkpoints: By name.
    """

    flow_name: str
    executions: int
    by_status: Mapping[ExecutionStatus, int]
    success_rate: float | None
    durations: SpanStatistics | None
    recoveries: int
    waits: WaitStatistics
    checkpoints: tuple[CheckpointStatistics, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStatistics:
    """How a project's flows have fared.

    Attributes:
        since: Of executions that were created then or later; None means of all.
        flows: By name; flows without executions are missing.
    """

    project: str
    since: datetime | None
    flows: tuple[FlowStatistics, ...]

    @property
    def executions(self) -> int:
        """How many executions this is about."""
        return sum(flow.executions for flow in self.flows)


def gather(
    connection: Connection, clock: Clock, *, flow: str | None, since: datetime | timedelta | None
) -> ExecutionStatistics:
    """Return the statistics of a project's flows.

    Raises:
        KitaruUsageError: `since` is no moment with a time zone and no span back from now.
    """
    project = connection.settings.project
    moment = None if since is None else _moment(since, clock)
    found = connection.store.measure_flows(project, flow=flow, since=moment)
    return ExecutionStatistics(
        project=project,
        since=None if moment is None else to_datetime(moment),
        flows=tuple(map(_flow, found)),
    )


def _moment(since: object, clock: Clock) -> int:
    if isinstance(since, timedelta):
        if since < timedelta(0):
            message = f"expected `since` to reach back from now, got the negative span {since!r}"
            raise KitaruUsageError(message)
        # Nothing is older than the epoch, and a span may be longer than there are years.
        return max(clock.now() - since // timedelta(microseconds=1), 0)
    if isinstance(since, datetime) and since.tzinfo is not None:
        return from_datetime(since)
    message = (
        f"expected `since` to be a `datetime` with a time zone, such as `datetime.now(UTC)`, or a"
        f" `timedelta` back from now, got: {since!r}"
    )
    raise KitaruUsageError(message)


def _flow(figures: FlowFigures) -> FlowStatistics:
    by_status = {status: figures.statuses.get(status, 0) for status in ExecutionStatus}
    completed, failed = by_status[ExecutionStatus.COMPLETED], by_status[ExecutionStatus.FAILED]
    return FlowStatistics(
        flow_name=figures.flow,
        executions=sum(by_status.values()),
        by_status=by_status,
        success_rate=completed / (completed + failed) if completed or failed else None,
        durations=_spans(figures.spans),
        recoveries=figures.recoveries,
        waits=WaitStatistics(
            asked=figures.asked,
            answered=figures.answered,
            aborted=figures.aborted,
            expired=figures.expired,
            time_to_answer=_spans(figures.answer_spans),
        ),
        checkpoints=tuple(map(_checkpoint, figures.checkpoints)),
    )


def _checkpoint(figures: CheckpointFigures) -> CheckpointStatistics:
    return CheckpointStatistics(
        name=figures.name,
        calls=figures.calls,
        failed=figures.failed,
        cached=figures.cached,
        reused=figures.reused,
        failed_attempts=figures.failed_attempts,
        durations=_spans(figures.spans),
    )


def _spans(figures: SpanFigures | None) -> SpanStatistics | None:
    if figures is None:
        return None
    return SpanStatistics(
        count=figures.count,
        mean_seconds=figures.mean / MICROSECONDS,
        median_seconds=figures.median / MICROSECONDS,
        p95_seconds=figures.p95 / MICROSECONDS,
        max_seconds=figures.longest / MICROSECONDS,
    )
