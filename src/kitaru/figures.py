"""What a store has counted and measured, as the rest of Kitaru sees it: frozen records.

Spans are microseconds. `kitaru.client` turns these into what users read.
"""

from __future__ import annotations

from collections.abc import Mapping

from kitaru.model import record
from kitaru.statuses import ExecutionStatus


@record
class SpanFigures:
    """How long some things took.

    Attributes:
        count: How many were measured.
        median: Half of them took at most so long; between the two in the middle if there are two.
        p95: 95 of 100 took at most so long: one of the spans, never between two.
    """

    count: int
    mean: float
    median: float
    p95: int
    longest: int


@record
class CheckpointFigures:
    """The calls of one checkpoint in one flow's executions.

    Attributes:
        calls: How many there were, however they stand.
        failed: How many failed in the end.
        cached: How many have the result of a call of any execution that had the same inputs.
        reused: How many a replay took over from its origin, or was given.
        failed_attempts: How many tries failed, the last ones of failed calls included.
        spans: How long those took whose body returned, with their retries.
    """

    name: str
    calls: int
    failed: int
    cached: int
    reused: int
    failed_attempts: int
    spans: SpanFigures | None


@record
class FlowFigures:
    """One flow's executions.

    Attributes:
        statuses: How many stand where; statuses in which none stands are missing.
        recoveries: How often they lost their runner, all together.
        spans: How long those took that have completed, from their first start, waits included.
        asked: How many questions they have asked.
        answered: How many of these were answered.
        aborted: How many someone aborted.
        expired: How many nobody answered in time.
        answer_spans: How long the answers took.
        checkpoints: By name.
    """

    flow: str
    statuses: Mapping[ExecutionStatus, int]
    recoveries: int
    spans: SpanFigures | None
    asked: int
    answered: int
    aborted: int
    expired: int
    answer_spans: SpanFigures | None
    checkpoints: tuple[CheckpointFigures, ...]


@record
class Load:
    """How much a store has, and how much is to be done, over all projects.

    Attributes:
        statuses: How many executions stand where.
        open_questions: How many questions nobody has answered yet.
        due: How many executions could be claimed now.
        longest_due_at: Since when that has been so of the one that waits longest; None if none does.
    """

    statuses: Mapping[ExecutionStatus, int]
    open_questions: int
    due: int
    longest_due_at: int | None
