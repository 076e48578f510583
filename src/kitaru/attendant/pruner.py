"""Lets go of what the retention rules no longer keep, and of large values that nothing names."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from kitaru.blobs import BlobStore
from kitaru.clock import SYSTEM_CLOCK, Clock
from kitaru.pruning import prune
from kitaru.retention import RetentionRule
from kitaru.store.contract import Store

logger = logging.getLogger(__name__)

# What processes that were started for executions have said; whoever looks for it does so earlier.
_LOGS_KEPT = timedelta(days=14)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pruner:
    """Makes a pass over the store now and then, in steps that are short for everybody else.

    Attributes:
        rules: What may go; blobs that nothing names are collected even if there is none.
        logs: The folder of what processes started for executions have said; old files in it go, too.
        rest: Waits so many seconds between steps, and returns whether to stop. A pass may take long, so it
            has no place among duties that others depend on.
        interval_seconds: How long after a pass the next one begins.
    """

    store: Store
    blobs: BlobStore
    clock: Clock
    rules: Sequence[RetentionRule] = ()
    logs: Path | None = None
    rest: Callable[[float], bool] = field(default_factory=lambda: threading.Event().wait)
    interval_seconds: float = 600.0
    name: str = "pruner"

    def run_once(self) -> bool:
        """Make one pass.

        Durability: many short transactions. A pass that is interrupted leaves nothing half removed, and
        the next one goes on; two at a time get in nobody's way.
        """
        pruned = prune(self.store, self.blobs, self.rules, clock=self.clock, rest=self.rest)
        if self.logs is not None:
            clear_old_files(self.logs, _LOGS_KEPT)
        if pruned.executions or pruned.blobs:
            logger.info(
                "pruned %d executions and %d large values (%d bytes)",
                pruned.executions,
                pruned.blobs,
                pruned.blob_bytes,
                extra={"action": "prune"},
            )
        return False


def clear_old_files(folder: Path, age: timedelta) -> None:
    """Remove the files of a folder that nobody has written to for so long."""
    before = (SYSTEM_CLOCK.now() / 1_000_000) - age.total_seconds()
    with suppress(FileNotFoundError):
        for file in list(folder.iterdir()):
            with suppress(FileNotFoundError):
                if file.is_file() and file.stat().st_mtime < before:
                    file.unlink()
