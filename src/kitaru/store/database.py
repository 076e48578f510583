"""What the SQL in this package asks of a database: named statements inside a read or a write.

A database owns connections, transactions, waiting for others, and the translation of its driver's errors.
It knows no statement and no record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from kitaru.clock import Clock
from kitaru.store.contract.sharing import Watch
from kitaru.store.queries import Row, Statement

T = TypeVar("T")


class Session(Protocol):
    """Statements on one connection, valid only inside the work it was given to."""

    @property
    def merges_in_order(self) -> bool:
        """Whether parts of a UNION ALL that come in order are merged, reading of each what is needed."""
        ...

    def rows(self, name: str, *arguments: object) -> list[Row]:
        """Run the statement `name` with arguments in their declared order; return all its rows."""
        ...

    def row(self, name: str, *arguments: object) -> Row | None:
        """Run a statement that gives at most one row."""
        ...

    def run(self, name: str, *arguments: object) -> int:
        """Run a statement; return how many rows it changed."""
        ...

    def run_many(self, name: str, rows: Sequence[Row]) -> int:
        """Run a statement once for each tuple of arguments; return how many rows it changed."""
        ...

    def query(self, text: str, arguments: Sequence[object]) -> list[Row]:
        """Run a statement that was put together by `listing.py`."""
        ...

    def statement(self, name: str) -> Statement:
        """Return a named statement, to put one together from."""
        ...

    def lock_executions(self, exec_ids: Iterable[str]) -> None:
        """Let nobody else change these executions' rows before this transaction ends.

        Whoever wakes, parks or ends an execution looks at its waits after this, because only then do its
        statements see what others have done meanwhile. Nothing to do where writers exclude each other.
        """
        ...

    def serialize(self, key: str) -> None:
        """Let nobody else pass here with the same key before this transaction ends."""
        ...


class Database(Protocol):
    """One database. Safe to use from any thread."""

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock that all who use it share."""
        ...

    def watch(self, wake: Callable[[], None]) -> Watch:
        """Have `wake` called when something has become pending; see `contract/sharing.py`."""
        ...

    def read(self, work: Callable[[Session], T]) -> T:
        """Return what `work` reads. Each of its statements sees all that was committed before."""
        ...

    def write(self, work: Callable[[Session], T], *, is_repeatable: bool = False) -> T:
        """Return what `work` returned, after committing what it wrote.

        `work` may be called several times, each time with nothing of the time before in the database;
        but if it `is_repeatable`, a former time may have been committed without anybody's learning of
        it, and what it returns then must be as true. Otherwise the database is asked whether it was.

        Durability: one transaction, flushed to disk. If it raises, nothing was written, unless the database
        has been out of reach since; the error says so.
        """
        ...

    def reconnect_if_replaced(self) -> None:
        """Let go of every connection if what they lead to is no longer what `url` names."""
        ...

    def verify(self) -> list[str]:
        """Return what is wrong with the file or its schema, one sentence each."""
        ...

    def close(self) -> None:
        """Let go of every connection; the next use opens new ones."""
        ...
