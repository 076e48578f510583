"""What the rest of Kitaru may ask of a store.

A store keeps executions, their journals and what is written about them. It sees bytes and names, never a
user's value. Three things fulfil this contract (SQLite, Postgres, the server over HTTP), and one
conformance suite, `tests/store/`, holds them to the docstrings below, which are the specification.

Rules for every method:

* Calls are synchronous and may come from any thread; a store serialises what its database cannot.
* A method that writes is atomic: it has happened entirely and is flushed to disk when it returns, or it
  has not happened at all when it raises.
* Drivers' exceptions come out as `KitaruBackendError` (`__cause__` is the driver's). Nothing else of a
  driver leaks. A busy database is waited for, not reported.
* `now` is a moment of the store's own clock (`Changes.clock`) in microseconds, unless tests own the time.
* Unknown ids raise `KitaruNotFoundError` where one thing is asked for (`get_…`), and give nothing where
  several are (`list_…`, `find_…`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kitaru.model import (
    Committed,
    Write,
)
from kitaru.store.contract.files import Files
from kitaru.store.contract.keeping import Archive, Logs, Statistics
from kitaru.store.contract.pruning import Pruning
from kitaru.store.contract.runs import ANY, NO_LIMIT, Executions, Journal, Leases
from kitaru.store.contract.sharing import Changes, Company, Watch
from kitaru.store.contract.waiting import Attendance, Waits

__all__ = [
    "ANY",
    "NO_LIMIT",
    "Archive",
    "Attendance",
    "Changes",
    "Company",
    "Executions",
    "Files",
    "Journal",
    "Leases",
    "Logs",
    "Pruning",
    "Statistics",
    "Store",
    "Waits",
    "Watch",
    "Writer",
]


class Writer(Protocol):
    """The way of many runs' writes into one store; `JournalWriter` is it."""

    def write(self, write: Write) -> Committed:
        """Commit a write, perhaps together with others', and return what became of it."""
        ...

    def submit(self, write: Write, done: Callable[[Committed | BaseException], None]) -> None:
        """As `write`, without waiting: `done` is called from another thread.

        Writes handed over one after the other are committed in that order.
        """
        ...


class Store(
    Executions,
    Leases,
    Journal,
    Waits,
    Attendance,
    Archive,
    Statistics,
    Logs,
    Pruning,
    Files,
    Changes,
    Protocol,
):
    """All of it, and a life of its own."""

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        ...

    def list_blob_digests(self) -> list[str]:
        """Return the digests of all blobs that executions, calls and artifacts name, in order."""
        ...

    def migrate(self) -> None:
        """Bring the schema to what this version needs; make it if there is none.

        Durability: each step is one transaction. Safe to repeat, and to run in several processes at once.

        Raises:
            KitaruBackendError: A newer version wrote it, or its history is not ours; nothing was changed.
        """
        ...

    def verify(self) -> list[str]:
        """Return what is wrong with the stored data, one sentence each; an empty list is good news."""
        ...

    def close(self) -> None:
        """Let go of every connection. A closed store opens again at its next use."""
        ...
