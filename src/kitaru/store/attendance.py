"""Who is there to run what is pending, and for what an attendant starts a process."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.fleet import WorkerRecord
from kitaru.store.database import Session
from kitaru.store.rows import words_from_json, words_to_json

_ANY_NUMBER = 2**31

# A worker that loads what is wanted of a folder gets as long to do so before a process is started.
_LOADING = 3_000_000


def announce_worker(session: Session, worker: WorkerRecord) -> None:
    """Say that a worker is there, or still there."""
    session.run(
        "announce_worker",
        worker.owner,
        worker.project,
        worker.stack,
        words_to_json(worker.code_keys),
        worker.concurrency,
        worker.running,
        worker.started_at,
        worker.seen_at,
    )


def list_workers(session: Session) -> list[WorkerRecord]:
    """Return the workers that have announced themselves, the oldest first."""
    return [
        WorkerRecord(
            owner=owner,
            project=project,
            stack=stack,
            code_keys=words_from_json(code_keys),
            concurrency=concurrency,
            running=running,
            started_at=started_at,
            seen_at=seen_at,
        )
        for (
            owner,
            project,
            stack,
            code_keys,
            concurrency,
            running,
            started_at,
            seen_at,
        ) in session.rows("list_workers")
    ]


def forget_workers(session: Session, owners: Sequence[str]) -> None:
    """Remove workers that have left."""
    session.run_many("forget_worker", [(owner,) for owner in owners])


def is_anything_to_launch(
    session: Session, now: int, due: int, project: str | None, stack: str, seen_since: int
) -> bool:
    """Return whether a process is wanted, without asking for the right to write."""
    loading_since = now - _LOADING
    row = session.row("is_anything_to_launch", now, due, project, stack, seen_since, loading_since)
    return row is not None


def reserve_launch(session: Session, exec_id: str, now: int, pause: int) -> bool:
    """Return whether the caller is to start a process for an execution."""
    return session.run("reserve_launch", now, pause, exec_id) > 0


def hasten_launch(session: Session, exec_id: str, now: int) -> None:
    """Let a process be started for an execution at once, although one was a short while ago."""
    session.run("hasten_launch", now, exec_id)


def reserve_launches(
    session: Session,
    now: int,
    due: int,
    project: str | None,
    stack: str,
    seen_since: int,
    pause: int,
    limit: int,
) -> list[str]:
    """Return executions to start a process for, which nobody else does meanwhile."""
    found: list[str] = []
    # First those that no process was started for: others may never be taken up.
    for most_launches in (0, _ANY_NUMBER):
        rows = session.rows(
            "reserve_launches",
            now,
            due,
            project,
            stack,
            most_launches,
            seen_since,
            now - _LOADING,
            pause,
            limit - len(found),
        )
        found += [exec_id for _, exec_id in sorted(rows)]
    return found


def list_pending_code(
    session: Session, now: int, project: str, stack: str
) -> list[tuple[str, str]]:
    """Return the roots and references of the code that pending executions need, each pair once."""
    return [(root, ref) for root, ref in session.rows("list_pending_code", now, project, stack)]
