"""Lets go of what the retention rules no longer keep, and of large values that nothing names."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kitaru.blobs import BlobStore
from kitaru.clock import Clock
from kitaru.pruning import prune
from kitaru.retention import RetentionRule
from kitaru.store.contract import Store

logger = logging.getLogger(__name__)


def _nothing() -> None:
    """Leave everything else alone."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pruner:
    """Makes a pass over the store now and then, in steps that are short for everybody else.

    Attributes:
        rules: What may go; blobs that nothing names are collected even if there is none.
        tidy: Removes what else belongs to executions that are gone.
        rest: Waits so many seconds between steps, and returns whether to stop. A pass may take long, so it
            has no place among duties that others depend on.
        interval_seconds: How long after a pass the next one begins.
    """

    store: Store
    blobs: BlobStore
    clock: Clock
    rules: Sequence[RetentionRule] = ()
    tidy: Callable[[], None] = _nothing
    rest: Callable[[float], bool] = field(default_factory=lambda: threading.Event().wait)
    interval_seconds: float = 600.0
    name: str = "pruner"

    def run_once(self) -> bool:
        """Make one pass.

        Durability: many short transactions. A pass that is interrupted leaves nothing half removed, and
        the next one goes on; two at a time get in nobody's way.
        """
        pruned = prune(self.store, self.blobs, self.rules, clock=self.clock, rest=self.rest)
        self.tidy()
        if pruned.executions or pruned.blobs:
            logger.info(
                "pruned %d executions and %d large values (%d bytes)",
                pruned.executions,
                pruned.blobs,
                pruned.blob_bytes,
                extra={"action": "prune"},
            )
        return False
