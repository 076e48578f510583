"""What an attendant does again and again."""

from __future__ import annotations

from typing import Protocol


class Duty(Protocol):
    """One kind of work on a store, done a bounded batch at a time."""

    @property
    def name(self) -> str:
        """What it is called in logs."""
        ...

    @property
    def interval_seconds(self) -> float:
        """How long after a pass the next one begins, if there was no more to do."""
        ...

    def run_once(self) -> bool:
        """Do one bounded batch; return whether there may be more to do at once.

        Safe to repeat, and to do in several processes at the same time.

        Raises:
            KitaruBackendError: The store is out of reach; nothing is lost by that.
        """
        ...
