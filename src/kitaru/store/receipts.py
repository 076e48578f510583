"""Doing what a request asks for once, however often the request comes.

A server's answer may be lost on its way, and the server itself may die between its commit and the answer. So
the answer is kept under the request's key, in the transaction that did what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from kitaru.clock import Clock
from kitaru.errors import KitaruError
from kitaru.store.contract.sharing import Watch
from kitaru.store.database import Database, Session

T = TypeVar("T")

COMMITTED = b""
"""What the receipt of a transaction says that nobody waits for an answer of."""
_UNDONE = b"undone"


def perform_once(
    database: Database, key: str, work: Callable[[Database], bytes]
) -> tuple[bytes, bool]:
    """Return what `work` answers, or what it answered when this key came before, and whether it did.

    Who finds nothing to do leaves no answer behind: idle workers ask for executions all the time, and
    must neither write nor wait for those who do.

    Durability: one transaction for the work and its answer. If it raises, neither is kept.
    """
    # Where something is to be written, or refused, the transaction below decides.
    with suppress(_WouldWriteError, KitaruError):
        idle_answer = work(_Onlooker(database))
        # Asked after the look: if there is nothing to do because this request has done it before, then
        # what it did and its answer were committed together.
        found = database.read(lambda session: _find_answer(session, key))
        return (idle_answer, False) if found is None else (found, True)
    now = database.clock.now()

    def step(session: Session) -> tuple[bytes, bool]:
        # The same request may be on its way twice at once; the second waits here for the first's answer.
        session.serialize(key)
        found = _find_answer(session, key)
        if found is not None:
            return found, True
        answer = work(BoundDatabase(session, database))
        record_receipt(session, key, answer, now)
        return answer, False

    return database.write(step, is_repeatable=True)


def record_receipt(session: Session, key: str, answer: bytes, now: int) -> None:
    """Leave proof, in the transaction that does what a request asks for, that it was committed."""
    session.run("record_receipt", key, answer, now)


def forget_receipts(session: Session, before: int) -> int:
    """Remove receipts of before a moment; return how many."""
    return session.run("forget_receipts", before)


def was_committed(session: Session, key: str, now: int) -> bool:
    """Return whether a transaction has left its receipt, after waiting for it if it is still going on.

    Asked with a receipt of our own, which takes the place; whoever finds that one has asked before.
    """
    if session.run("claim_receipt", key, _UNDONE, now):
        return False
    return _find_answer(session, key) == COMMITTED


def _find_answer(session: Session, key: str) -> bytes | None:
    row = session.row("find_receipt", key)
    return None if row is None else bytes(row[0])


class BoundDatabase:
    """A database whose reads and writes all belong to one transaction that is open already.

    `database.py` specifies the methods.
    """

    def __init__(self, session: Session, database: Database) -> None:
        self._session = session
        self._database = database

    @property
    def url(self) -> str:
        return self._database.url

    @property
    def clock(self) -> Clock:
        return self._database.clock

    def watch(self, wake: Callable[[], None]) -> Watch:
        return self._database.watch(wake)

    def read(self, work: Callable[[Session], T]) -> T:
        return work(self._session)

    def write(self, work: Callable[[Session], T], *, is_repeatable: bool = False) -> T:  # noqa: ARG002 - the transaction around it answers for that
        return work(self._session)

    def reconnect_if_replaced(self) -> None:
        """Stay: the transaction is where it is."""

    def verify(self) -> list[str]:
        return self._database.verify()

    def close(self) -> None:
        """Stay open: the connection is whoever's transaction it is."""


class _WouldWriteError(Exception):
    """There is something to do."""


class _Onlooker(BoundDatabase):
    """A database that reads by itself and stops at the first write."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, work: Callable[[Session], T]) -> T:
        return self._database.read(work)

    def write(self, work: Callable[[Session], T], *, is_repeatable: bool = False) -> T:  # noqa: ARG002 - it does not come to that
        raise _WouldWriteError
