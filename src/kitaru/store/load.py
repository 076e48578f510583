"""Counting what is there and what is to be done, over all projects, at a cost that has a bound."""

from __future__ import annotations

from kitaru.figures import Load
from kitaru.model import ExecutionStatus
from kitaru.store.database import Session
from kitaru.store.executions import find_execution
from kitaru.store.leases import find_pending_ids


def list_projects(session: Session) -> list[str]:
    """Return the projects that have executions, by name."""
    return [project for (project,) in session.rows("list_projects")]


def measure_load(session: Session, now: int, at_most: int) -> Load:
    """Return how much there is and how much is to be done, counting up to `at_most` each."""
    longest = [
        find_execution(session, exec_id) for exec_id in find_pending_ids(session, now, 1, None)
    ]
    return Load(
        statuses={
            status: _count(session, "count_standing", status.value, at_most)
            for status in ExecutionStatus
        },
        open_questions=_count(session, "count_open_questions", now, at_most),
        due=_count(session, "count_due", now, at_most),
        longest_due_at=longest[0].runnable_at if longest and longest[0] else None,
    )


def _count(session: Session, statement: str, *arguments: object) -> int:
    found = session.row(statement, *arguments)
    assert found is not None  # noqa: S101 - a count has always one row
    return found[0]
