"""Wakes executions that sleep when their moment has come."""

from __future__ import annotations

from dataclasses import dataclass

from kitaru.clock import Clock
from kitaru.model import WaitKind
from kitaru.store.contract import Store


@dataclass(frozen=True, eq=False, kw_only=True)
class Timers:
    """Ends timers that are due; their executions become `pending`.

    Attributes:
        interval_seconds: How late an execution may be woken.
        batch: How many timers one transaction ends.
    """

    store: Store
    clock: Clock
    interval_seconds: float = 0.25
    batch: int = 500
    name: str = "timers"

    def run_once(self) -> bool:
        """End a batch of due timers.

        Durability: one transaction; of two attendants, one ends a timer.
        """
        now = self.clock.now()
        woken = self.store.wake_due(now=now, limit=self.batch, kind=WaitKind.TIMER)
        return len(woken) >= self.batch
