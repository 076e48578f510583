"""Who will take a pending execution up, or why nobody does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from kitaru.client.story import Story, WhyReason
from kitaru.client.wording import since
from kitaru.fleet import NO_CODE

if TYPE_CHECKING:
    from kitaru.client.connection import Connection
    from kitaru.model import ExecutionRecord


def attended(story: Story, connection: Connection, execution: ExecutionRecord, now: int) -> Story:
    """Return what is told of a pending execution, with what is done about it."""
    if execution.held_at is not None:
        return Story(
            reason=WhyReason.HELD,
            predicate=f"was stopped by hand {since(execution.held_at, now)} ago, and goes on when someone"
            " asks for it",
            since=execution.held_at,
            steps=(f"kitaru executions recover {execution.id}",),
        )
    return replace(story, more=(*story.more, *_who(connection, execution, now)))


def _who(connection: Connection, execution: ExecutionRecord, now: int) -> Iterator[str]:
    workers = connection.neighbours.find_workers(connection.store, execution, now=now)
    if workers and execution.status_reason != NO_CODE:
        one = workers[0]
        others = f" and {len(workers) - 1} more" if len(workers) > 1 else ""
        who = "A worker" if one.pid is None else f"Worker {one.pid}"
        is_full = one.record.running >= one.record.concurrency
        yield (
            f"{who}{others} takes it up"
            f"{f' when one of its {one.record.running} executions has ended' if is_full else ''}."
        )
    if execution.launches:
        times = "once" if execution.launches == 1 else f"{execution.launches} times"
        log = connection.neighbours.runner_log(connection.settings, execution.id)
        yield f"A process was started for it {times} and has not taken it up; what it said is in '{log}'."
