"""What a server asks of the store that it serves, beside the contract: to answer the same request once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kitaru.store.contract import Store
from kitaru.store.contract.keeping import Archive, Logs, Statistics
from kitaru.store.contract.pruning import Pruning
from kitaru.store.contract.runs import Executions, Journal, Leases
from kitaru.store.contract.waiting import Attendance, Waits


class BoundStore(
    Executions,
    Leases,
    Journal,
    Waits,
    Attendance,
    Archive,
    Statistics,
    Logs,
    Pruning,
    Protocol,
):
    """A store all of whose methods belong to one transaction that is open already."""


class ServedStore(Store, Protocol):
    """A store with a database of its own, which can stand behind a server."""

    def perform_once(self, key: str, work: Callable[[BoundStore], bytes]) -> tuple[bytes, bool]:
        """Do `work` in one transaction, unless that was done under this key before.

        Work that finds nothing to do leaves nothing behind.

        Returns:
            What `work` answered, now or then, and whether it was then.

        Durability: one transaction for all that `work` writes and its answer. If it raises, nothing was
        written or kept.
        """
        ...

    def answer_within(self, seconds: float) -> None:
        """Say after so many seconds that the database is away, instead of waiting in the caller's thread.

        Whoever asks over HTTP tries again by himself, and must not find all threads of a server waiting.
        """
        ...

    def forget_receipts(self, *, before: int) -> int:
        """Forget answers that were given before a moment; return how many."""
        ...
