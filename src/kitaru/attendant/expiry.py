"""Expires questions that nobody has answered in time."""

from __future__ import annotations

from dataclasses import dataclass

from kitaru.clock import Clock
from kitaru.model import WaitKind
from kitaru.store.contract import Store


@dataclass(frozen=True, eq=False, kw_only=True)
class Expiry:
    """Ends questions whose deadline is over; their executions become `pending`.

    Attributes:
        interval_seconds: How late a question may expire.
        batch: How many questions one transaction ends.
    """

    store: Store
    clock: Clock
    interval_seconds: float = 0.5
    batch: int = 500
    name: str = "expiry"

    def run_once(self) -> bool:
        """Expire a batch of questions.

        Durability: one transaction; an answer that is first wins, and later ones are refused.
        """
        now = self.clock.now()
        expired = self.store.wake_due(now=now, limit=self.batch, kind=WaitKind.INPUT)
        return len(expired) >= self.batch
