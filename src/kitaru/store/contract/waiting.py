"""What a store does for executions that wait, and for those who take them up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kitaru.fleet import (
    WorkerRecord,
)
from kitaru.model import (
    ExecutionStatus,
    Resolution,
    WaitKind,
    WaitRecord,
)


class Waits(Protocol):
    """Keep what executions wait for, and wake them."""

    def list_waits(
        self, exec_id: str, *, positions: Sequence[str] | None = None
    ) -> list[WaitRecord]:
        """Return an execution's waits of every kind and status, in the order in which they were asked.

        Args:
            exec_id: The execution.
            positions: Only at these positions.
        """
        ...

    def list_open_waits(
        self, project: str, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> list[WaitRecord]:
        """Return a project's open questions, oldest first by `(created_at, exec_id, position)`.

        Args:
            project: Only of this project's executions.
            limit: At most so many.
            after: The last key of the page before.
        """
        ...

    def resolve_wait(
        self, exec_id: str, position: str, resolution: Resolution, *, now: int
    ) -> WaitRecord:
        """Answer or abort an open question; the first one wins. A waiting execution becomes `pending`.

        The answer is kept as it is given: whoever calls this has checked it against the schema. A
        question whose `wake_at` has passed is still answered if nobody has noticed yet.

        Raises:
            KitaruNotFoundError: The execution has no wait there, or does not exist.
            KitaruStateError: The wait is not an open question; the message says since when, and by whom.
        """
        ...

    def wake_due(
        self,
        *,
        now: int,
        limit: int,
        exec_ids: Sequence[str] | None = None,
        kind: WaitKind | None = None,
    ) -> list[str]:
        """End open waits whose `wake_at` has come: timers are answered, questions expire.

        Their executions, if `waiting`, become `pending`, runnable at once. Safe to repeat and to race.

        Args:
            now: The present moment.
            limit: At most so many waits, the most overdue first.
            exec_ids: Only of these executions.
            kind: Only timers, or only questions.

        Returns:
            The ids of the executions concerned, each once.
        """
        ...

    def find_pending_ids(
        self, *, now: int, limit: int, exec_ids: Sequence[str] | None = None
    ) -> list[str]:
        """Return ids of pending executions whose `runnable_at` has come, the longest due first.

        Those that are held are left, unless they are asked for by id.
        """
        ...

    def get_statuses(self, exec_ids: Sequence[str]) -> dict[str, ExecutionStatus]:
        """Return where these executions stand; those that do not exist are missing."""
        ...


class Attendance(Protocol):
    """Know who is there to run what is pending."""

    def announce_worker(self, worker: WorkerRecord) -> None:
        """Say that a worker is there; again and again, because one that falls silent is not counted on."""
        ...

    def list_workers(self) -> list[WorkerRecord]:
        """Return the workers that have announced themselves and did not leave, the oldest first.

        Those that died without a word are among them; `seen_at` and the owner tell.
        """
        ...

    def forget_workers(self, owners: Sequence[str]) -> None:
        """Remove workers that have left; those that are not there are fine."""
        ...

    def reserve_launch(self, exec_id: str, *, now: int, pause: int) -> bool:
        """Return whether the caller is to start a process for an execution that it knows to be wanted.

        It is not if the execution is not pending, or if someone else has reserved the same in the last
        `pause` microseconds or so; see `reserve_launches`.
        """
        ...

    def hasten_launch(self, exec_id: str, *, now: int) -> None:
        """Let the next launch be reserved at once, because the process of the last one was killed.

        Only the first few times: something may kill every process that is started for it.
        """
        ...

    def list_pending_code(self, *, now: int, project: str, stack: str) -> list[tuple[str, str]]:
        """Return `code_root` and `code_ref` of what could be claimed now, each pair once."""
        ...

    def reserve_launches(
        self,
        *,
        now: int,
        due: int,
        project: str | None,
        stack: str,
        seen_since: int,
        pause: int,
        limit: int,
    ) -> list[str]:
        """Return ids of pending executions that a process is to be started for, the longest due first.

        Before all others come those for which none was started before.

        They have been runnable since `due` at least, are not held, and no worker that was seen at or after
        `seen_since` serves their project, stack and code. Two callers never get the same one: it is
        returned again only if nobody has claimed it after `pause` microseconds, then after twice as many
        each time, up to 64 times as many.
        """
        ...
