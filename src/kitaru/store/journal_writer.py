"""Group commit: what several threads want to record at the same moment goes into one transaction.

A flush to disk takes far longer than the statements before it, and one flush serves any number of them.
So while one thread commits, the others queue up; when it is done, the first in the queue commits for all
that have come meanwhile. Whoever is alone commits at once, in its own thread.

* There is at most one **leader**, the one that may call the store. Leadership passes from ticket to
  ticket and is never free while the queue is not empty; that is the whole of the liveness argument.
* A leader returns as soon as its own transaction is done. It does not go on for those who came later, so
  no thread works for others longer than for itself.
* The main thread never commits for others, because only it can be interrupted (`KeyboardInterrupt`), and
  an interrupted commit may or may not have happened. Alone it leaves only itself in doubt.
* Who committed together tends to come back together, but not at the same instant. A leader whose
  predecessor had company waits a moment for as many, else the first of them would commit alone, and the
  others after it.
* Writes that are submitted rather than waited for (by an event loop) are led by one daemon thread, the
  courier, which also makes all their callbacks.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from kitaru.errors import KitaruBackendError
from kitaru.forking import forget_in_child
from kitaru.model import Committed, JournalEntry, Write
from kitaru.store.courier import Courier

Commit = Callable[[Sequence[Write]], list[Committed]]
Done = Callable[[Committed | BaseException], None]

# More would not make a flush cheaper per entry, but would keep the first of them waiting.
_MAX_WRITES = 256
_MAX_BYTES = 8 * 1024 * 1024

# A leader that expects company waits for at most two flushes, of which it then saves several. Less is too
# short for sixteen threads that share one interpreter to come back; whoever is alone never waits.
_PATIENCE_IN_FLUSHES = 2.0
_MAX_PATIENCE_SECONDS = 0.002

# A record that cannot be kept is refused at once; a store that is away is waited for.
_AWAY_SECONDS = 1.0


class _Ticket:
    """One write on its way.

    Attributes:
        done: Called with the outcome; None if a thread waits for it.
        gate: Locked until the waiting thread has something to do; None if it was the first.
        is_main: Whether the main thread waits.
        outcome: What became of the write; None until that is known.
    """

    __slots__ = ("done", "gate", "is_main", "outcome", "write")

    def __init__(self, write: Write, done: Done | None = None) -> None:
        self.write = write
        self.done = done
        self.gate: threading.Lock | None = None
        self.is_main = False
        self.outcome: Committed | BaseException | None = None


class JournalWriter:
    """Commits writes of many threads and event loops, several in a transaction.

    Args:
        commit: `Store.commit` or its like. Never called by two threads at once.
        away_seconds: What fails after this long is the store's failure, and not that of one record.
    """

    def __init__(self, commit: Commit, *, away_seconds: float = _AWAY_SECONDS) -> None:
        self._commit = commit
        self._away_seconds = away_seconds
        self.forget()
        forget_in_child(self)

    def forget(self) -> None:
        """Begin with an empty queue, in a forked child: those who queued are not in this process."""
        self._mutex = threading.Lock()
        self._queue: deque[_Ticket] = deque()
        self._courier = Courier("kitaru-journal-writer")
        # The ticket whose thread may call the store, or the courier for a submitted one.
        self._leader: _Ticket | Courier | None = None
        # How many wrote together the last time, and for how long a leader waits for as many.
        self._company = 1
        self._patience = 0.0
        self._gathering: threading.Lock | None = None

    def write(self, write: Write) -> Committed:
        """Commit `write` and return what became of it.

        Durability: one transaction, flushed to disk, perhaps shared with others' writes. An error that
        one write causes is raised to it alone. If this raises, `write` was not committed; after a
        `KeyboardInterrupt` it may have been.
        """
        ticket = _Ticket(write)
        try:
            with self._mutex:
                leads = self._leader is None
                if leads:
                    self._leader = ticket
                if not leads or self._company > 1:
                    self._enqueue(ticket)
            if ticket.gate is None:
                # Nobody was waiting a moment ago; looking again would cost more than it could win.
                self._commit_for([ticket])
                self._hand_over()
            else:
                if not leads:
                    ticket.gate.acquire()
                if self._leader is ticket:
                    if not ticket.is_main:
                        self._wait_for_company(ticket.gate)
                    self._commit_for(self._gather(ticket))
                    self._hand_over()
        except BaseException:
            self._leave(ticket)
            raise
        outcome = ticket.outcome
        if isinstance(outcome, Committed):
            return outcome
        assert outcome is not None, "every ticket that is served has an outcome"  # noqa: S101 - for the type checker; it is served only with one
        raise outcome

    def submit(self, write: Write, done: Done) -> None:
        """Commit `write` soon; never block.

        Args:
            write: Committed after everything that the same caller has submitted before.
            done: Called from another thread with what became of it, or with the error. It must be
                quick, such as `loop.call_soon_threadsafe`.

        Durability: as `write`, once `done` is called.
        """
        ticket = _Ticket(write, done)
        with self._mutex:
            self._append(ticket)
            if self._leader is None:
                self._leader = self._courier
                self._courier.send(self._lead_for_submitted)

    def _enqueue(self, ticket: _Ticket) -> None:
        gate = threading.Lock()
        gate.acquire()
        ticket.gate = gate
        ticket.is_main = threading.current_thread() is threading.main_thread()
        self._append(ticket)

    def _append(self, ticket: _Ticket) -> None:
        self._queue.append(ticket)
        if self._gathering is not None and len(self._queue) >= self._company:
            self._gathering.release()
            self._gathering = None

    def _wait_for_company(self, gate: threading.Lock) -> None:
        """Let those who wrote together a moment ago do so again, rather than one after the other.

        The first of them to come back would otherwise commit alone, and the others after it.
        """
        with self._mutex:
            if len(self._queue) >= self._company:
                return
            self._gathering = gate
        gate.acquire(timeout=self._patience)
        with self._mutex:
            self._gathering = None

    def _gather(self, leader: _Ticket | None) -> list[_Ticket]:
        """Take the leader's ticket from the queue's head, and those behind it that fit."""
        with self._mutex:
            batch = [self._queue.popleft()]
            if leader is not None and leader.is_main:
                return batch
            room = _MAX_BYTES - _weight(batch[0].write)
            kind = type(batch[0].write)
            while self._queue and len(batch) < _MAX_WRITES:
                room -= _weight(self._queue[0].write)
                # Of one kind: who creates wants to hear soon that the store is away, a record is waited with.
                if room < 0 or type(self._queue[0].write) is not kind:
                    break
                batch.append(self._queue.popleft())
        return batch

    def _commit_for(self, batch: list[_Ticket]) -> None:
        """Commit a batch whose first ticket is the caller's own, and tell the others."""
        try:
            self._find_outcomes(batch)
        except BaseException:
            self._put_back(batch[1:])
            raise
        finally:
            self._tell(batch[1:])

    def _find_outcomes(self, batch: list[_Ticket]) -> None:
        began = time.perf_counter()
        try:
            outcomes = self._commit([ticket.write for ticket in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to whom it concerns
            if len(batch) == 1:
                batch[0].outcome = error
                return
        else:
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.outcome = outcome
            self._company = len(batch)
            flush_seconds = time.perf_counter() - began
            self._patience = min(_PATIENCE_IN_FLUSHES * flush_seconds, _MAX_PATIENCE_SECONDS)
            return
        # One of them may be to blame: each alone, so that it fails alone.
        for number, ticket in enumerate(batch):
            began = time.perf_counter()
            try:
                [ticket.outcome] = self._commit([ticket.write])
            except Exception as error:  # noqa: BLE001 - see above
                ticket.outcome = error
                waited = time.perf_counter() - began >= self._away_seconds
                if waited and isinstance(error, KitaruBackendError):
                    # The store is away, and has been waited for. Each of the others would wait as long.
                    for other in batch[number + 1 :]:
                        other.outcome = _same(error)
                    return

    def _put_back(self, tickets: list[_Ticket]) -> None:
        """Leave to the next leader what is not committed because this one was struck."""
        with self._mutex:
            self._queue.extendleft(ticket for ticket in reversed(tickets) if ticket.outcome is None)

    def _tell(self, tickets: list[_Ticket]) -> None:
        for ticket in tickets:
            if ticket.outcome is None:
                continue
            if ticket.gate is not None:
                ticket.gate.release()
            elif ticket.done is not None:
                self._courier.send(partial(ticket.done, ticket.outcome))

    def _hand_over(self) -> None:
        with self._mutex:
            if not self._queue:
                self._leader = None
                return
            following = self._queue[0]
            if following.gate is None:
                self._leader = self._courier
                self._courier.send(self._lead_for_submitted)
            else:
                # An interrupt cannot come between these two: the interpreter looks for one only after
                # calls. The ticket stays in the queue until its thread takes it out.
                self._leader = following
                following.gate.release()

    def _leave(self, ticket: _Ticket) -> None:
        """Forget a ticket whose thread was struck; pass leadership on if it had it."""
        with self._mutex:
            if ticket in self._queue:
                self._queue.remove(ticket)
        if self._leader is ticket:
            self._hand_over()

    def _lead_for_submitted(self) -> None:
        """Commit what is queued; runs in the courier's thread, which `_leader` stands for."""
        if self._company > 1:
            gate = threading.Lock()
            gate.acquire()
            self._wait_for_company(gate)
        batch = self._gather(None)
        try:
            self._find_outcomes(batch)
        except BaseException as error:  # noqa: BLE001 - told to the first; there is nobody else to raise it to
            batch[0].outcome = error
            self._put_back(batch[1:])
        self._tell(batch)
        self._hand_over()


def _same(error: KitaruBackendError) -> KitaruBackendError:
    """Return the error for somebody else: raised in two threads, one would hold the traces of both."""
    other = copy.copy(error)
    other.__cause__ = error.__cause__
    return other


def _weight(write: Write) -> int:
    """Return how many bytes of values a write carries."""
    if isinstance(write, JournalEntry):
        values = [call.output for call in write.calls]
        values += [call.inputs for call in write.calls]
        values += [artifact.value for artifact in write.artifacts]
        if write.outcome is not None:
            values.append(write.outcome.result)
    else:
        values = [write.inputs, *(call.output for call in write.calls)]
    return sum(len(value.data) for value in values if value is not None and value.data is not None)
