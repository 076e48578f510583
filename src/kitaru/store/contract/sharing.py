"""What a store does for those who share it: wake each other, and answer the same request once."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from kitaru.clock import Clock


class Company(Enum):
    """Who else uses a store."""

    ONE_MACHINE = auto()
    """Processes of this machine; looking costs them next to nothing."""

    MANY_MACHINES = auto()
    """Hundreds of processes may use it, each of which would look as often as one alone."""

    ATTENDED = auto()
    """As many, and a server that wakes, expires, takes back and prunes for all of them."""


class Watch(Protocol):
    """One party's being told that something has changed."""

    @property
    def is_live(self) -> bool:
        """Whether changes are told just now; if not, whoever wants to know has to look."""
        ...

    def stop(self) -> None:
        """Be told no longer."""
        ...


class Changes(Protocol):
    """Tell whoever waits that it is worth looking, and what time it is for all of them."""

    @property
    def clock(self) -> Clock:
        """The clock that leases and moments of this store go by, whichever machine asks.

        The machine's own for a store that one machine uses. Others ask the store, so that a machine whose
        clock is wrong by minutes neither keeps nor loses a lease by that.
        """
        ...

    @property
    def company(self) -> Company:
        """Who else may use the store, and who looks after it; decides how often each of them looks."""
        ...

    def watch(self, wake: Callable[[], None]) -> Watch:
        """Have `wake` called soon after an execution has become pending or a wait is over.

        Calls may come from any thread, too often, late, or not at all while the watch is not live.
        They must be quick, such as setting an event.
        """
        ...
