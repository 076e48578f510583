"""What a server knows of the machine that it is on: other processes there, never runs of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitaru.attendant.presence import facts_of_runner, find_workers
from kitaru.stacks import runner_log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kitaru.fleet import PresentWorker, RunnerFacts
    from kitaru.model import ExecutionRecord
    from kitaru.settings import Settings
    from kitaru.store.contract import Store


class ServerNeighbours:
    """A server's answers to what `kitaru.worker` tells clients in processes that run flows."""

    def answered(self, exec_id: str) -> None:
        """Tell nobody: whoever waits elsewhere watches the store."""

    def find_workers(
        self, store: Store, execution: ExecutionRecord, *, now: int
    ) -> Sequence[PresentWorker]:
        """Return the workers that take an execution up as soon as they have room for it."""
        return find_workers(store, execution, now=now)

    def runner_of_execution(self, execution: ExecutionRecord, now: int) -> RunnerFacts:
        """Return what is known of the process that has claimed a running execution."""
        return facts_of_runner(execution, now=now)

    def runner_log(self, settings: Settings, exec_id: str) -> Path:
        """Return the file that processes started for an execution write to."""
        return runner_log(settings, exec_id)
