"""Doing work on Postgres until it is known to be done: transactions, lost answers, and waiting meanwhile."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

import psycopg

from kitaru.clock import Clock
from kitaru.faults import fault
from kitaru.store.postgres_errors import (
    is_contended,
    is_lost,
    is_raced,
    is_transient,
    to_kitaru_error,
)
from kitaru.store.postgres_session import PostgresSession
from kitaru.store.receipts import COMMITTED, record_receipt, was_committed

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0
# Longer than a database needs that is merely busy.
_TELL_SECONDS = 1.0
# How often work is done again because somebody was faster; twice is unlikely, ten times is a mistake of ours.
_MOST_RACES = 10

# One script, and so one way there and back. Whatever the database's own default is, each statement has to
# see what was committed before it. A runner that is cut off in the middle must not keep its execution's row
# locked, and who waits for one that does must not wait for as long. Nothing of this outlives the
# transaction, so that it holds behind a pooler, too.
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED;"
    " SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL lock_timeout = '3s'"
)


class Away(Protocol):
    """What has to be known of a database that may be away.

    Attributes:
        is_outage_told: Whether the log has been told that it is away just now.
    """

    is_outage_told: bool

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock of all who use it."""
        ...

    @property
    def is_known(self) -> bool:
        """Whether this process has found it where it was told to look."""
        ...

    @property
    def patience_seconds(self) -> float:
        """For how long to try before giving up."""
        ...


class Attempt:
    """One write, tried until it is known to be committed.

    `run` may be called several times: once more after each time that the connection broke.
    """

    def __init__(
        self,
        database: Away,
        work: Callable[[PostgresSession], Any],
        *,
        is_repeatable: bool,
    ) -> None:
        self._database = database
        self._work = work
        self._is_repeatable = is_repeatable
        # Before there is a transaction: the clock may have to ask the database, on another connection, which
        # a pooler may not have for as long as transactions wait for it.
        self._now = 0 if is_repeatable else database.clock.now()
        # The receipt and the result of a transaction that may have been committed.
        self._in_doubt: tuple[str, Any] | None = None

    def run(self, session: PostgresSession) -> Any:
        if self._in_doubt is not None:
            key, result = self._in_doubt
            if was_committed(session, key, self._now):
                return result
            # It never was, and never will be: its receipt can have no place any more.
            self._in_doubt = None
        session.execute(_BEGIN)
        result = self._work(session)
        key = None
        if not self._is_repeatable:
            key = uuid.uuid4().hex
            record_receipt(session, key, COMMITTED, self._now)
        fault("commit.inside")
        try:
            session.execute("COMMIT")
        except psycopg.Error as error:
            if key is not None and is_lost(error):
                self._in_doubt = (key, result)
            raise
        return result


class Patience:
    """How long one operation has been waiting for the database."""

    def __init__(self, database: Away, most: float) -> None:
        self._database = database
        self._most = most
        self._began = time.monotonic()
        self._races = 0
        self._pause = _FIRST_PAUSE_SECONDS
        self._lost_at: float | None = None

    def note(self, error: psycopg.Error) -> None:
        """Raise an error as ours if doing the work again is no use, or was none for too long."""
        now = time.monotonic()
        waited = now - self._began
        self._is_contended = is_contended(error)
        if is_raced(error) and self._races < _MOST_RACES:
            self._races += 1
            self._is_contended = True
            return
        most = min(self._database.patience_seconds, self._most)
        if not is_transient(error) or waited > most:
            raise to_kitaru_error(
                error, self._database.url, waited=waited, is_known=self._database.is_known
            ) from error
        if not is_lost(error):
            return
        # Not since this operation began: the process may have stood still in between.
        self._lost_at = self._lost_at or now
        if now - self._lost_at > _TELL_SECONDS and not self._database.is_outage_told:
            self._database.is_outage_told = True
            logger.warning(
                "the database '%s' is out of reach, and is tried for up to %g s",
                self._database.url,
                most,
            )

    def wait(self) -> None:
        """Wait a moment before the next try, longer each time that the database was away."""
        if self._is_contended:
            time.sleep(random.uniform(0.0, _FIRST_PAUSE_SECONDS))  # noqa: S311 - no secret, only jitter
            return
        time.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret, only jitter
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)


def tidy(session: PostgresSession | None) -> bool:
    """Leave the transaction of work that failed; return whether the connection is fit for others."""
    if session is None:
        return False
    try:
        if not session.connection.closed and not session.is_clean():
            session.execute("ROLLBACK")
    except psycopg.Error:
        return False
    return not session.connection.closed and session.is_clean()
