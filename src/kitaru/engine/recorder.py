"""What a run writes: commits under its epoch, and what goes along with the next of them."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitaru.errors import KitaruBackendError
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    CallRecord,
    Committed,
    EventRecord,
    JournalEntry,
    MetadataRecord,
    Outcome,
    WaitRecord,
    record,
)

if TYPE_CHECKING:
    from kitaru.clock import Clock
    from kitaru.store.contract import Writer

logger = logging.getLogger(__name__)

# Reused calls cost no commit of their own; but so many at once are kept from a crash, and out of memory.
_MOST_REUSED = 100


@record
class Commit:
    """What a run wants to write at once; the recorder adds what it has buffered."""

    calls: tuple[CallRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    metadata: tuple[MetadataRecord, ...] = ()
    waits: tuple[WaitRecord, ...] = ()
    events: tuple[EventRecord, ...] = ()
    outcome: Outcome | None = None


class Recorder:
    """A run's way to the store.

    Recorded values, events and the execution's own metadata cost no commit of their own: they are
    buffered, and go along with the next commit.

    Args:
        writer: Where all runs of the process write.
        exec_id: The execution.
        epoch: The claim under which everything is written.
        clock: The time.
        act: Called with what became of each commit; raises if the run must stop.

    Attributes:
        store_error: The commit that failed; nothing after it may be recorded as if it had not.
    """

    def __init__(
        self,
        writer: Writer,
        exec_id: str,
        epoch: int,
        clock: Clock,
        act: Callable[[Committed], None],
    ) -> None:
        self._writer = writer
        self._exec_id = exec_id
        self._epoch = epoch
        self._clock = clock
        self._act = act
        self.store_error: KitaruBackendError | None = None
        self._lock = threading.RLock()  # an interrupt may strike while it is held
        self._values: list[CallRecord] = []
        self._reused: list[_Reused] = []
        self._metadata: dict[str, MetadataRecord] = {}
        self._all_metadata: dict[str, MetadataRecord] = {}
        self._events: list[EventRecord] = []
        self._has_buffered = False

    def commit(self, commit: Commit) -> None:
        """Make a commit durable, together with everything buffered before it.

        Durability: one transaction under this run's epoch. What was buffered stays buffered until it
        is written, so that no later commit can become durable without it.

        Raises:
            LeaseLost: Nothing was written; the execution is not this run's any more.
        """
        if not self._has_buffered:
            self._act(self._write(self._entry(commit)))
            return
        # Thread A has taken the buffer and is about to be committed; thread B, whose call depends on
        # a buffered value, must not overtake it. So B waits here until A's commit is durable.
        with self._lock:
            taken = self._buffered()
            result = self._write(self._entry(commit, taken))
            self._drop(taken)
        self._act(result)

    def commit_buffered(self) -> None:
        """Make what is buffered durable now, if anything is."""
        if self._has_buffered:
            self.commit(Commit())

    def _write(self, entry: JournalEntry) -> Committed:
        try:
            return self._writer.write(entry)
        except KitaruBackendError as error:
            self.store_error = error
            raise

    def submit_commit(self, commit: Commit, future: asyncio.Future[Committed]) -> None:
        """As `commit`, for an event loop: the future gets what became of it.

        What is buffered goes along with every entry until one of them is written, for any of them may
        fail alone; writing a value again changes nothing. Not so what a replay takes over: it can be had
        from the origin again, and a fan-out would write all of it with each of its calls.
        """
        loop = future.get_loop()

        def done(result: Committed | BaseException) -> None:
            if isinstance(result, KitaruBackendError):
                self.store_error = result

            def settle() -> None:
                with self._lock:
                    if isinstance(result, Committed):
                        self._drop(taken)
                    else:
                        self._reused = [*taken.reused, *self._reused]
                if future.done():
                    return
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

            try:
                loop.call_soon_threadsafe(settle)
            except RuntimeError:
                logger.debug("loop closed before commit returned", extra={"exec_id": self._exec_id})

        with self._lock:
            taken = self._buffered()
            # Events are told once, and may be lost.
            del self._events[: len(taken.events)]
            self._reused = []
            self._writer.submit(self._entry(commit, taken), done)

    def _entry(self, commit: Commit, buffered: _Buffered | None = None) -> JournalEntry:
        if buffered is None:
            return JournalEntry(
                exec_id=self._exec_id,
                epoch=self._epoch,
                calls=commit.calls,
                attempts=commit.attempts,
                artifacts=commit.artifacts,
                metadata=commit.metadata,
                events=commit.events,
                waits=commit.waits,
                outcome=commit.outcome,
            )
        reused = buffered.reused
        beside = [kept for taken in reused for kept in taken.beside]
        return JournalEntry(
            exec_id=self._exec_id,
            epoch=self._epoch,
            calls=(*buffered.values, *(taken.call for taken in reused), *commit.calls),
            attempts=commit.attempts,
            artifacts=(
                *(kept for kept in beside if isinstance(kept, ArtifactRecord)),
                *commit.artifacts,
            ),
            metadata=(
                *(kept for kept in beside if isinstance(kept, MetadataRecord)),
                *buffered.metadata,
                *commit.metadata,
            ),
            events=(*buffered.events, *commit.events),
            waits=commit.waits,
            outcome=commit.outcome,
        )

    def keep_value(self, record: CallRecord) -> None:
        """Keep a recorded value for the next commit."""
        with self._lock:
            self._values.append(record)
            self._has_buffered = True

    def keep_reused(
        self, record: CallRecord, beside: Sequence[ArtifactRecord | MetadataRecord]
    ) -> None:
        """Keep what a replay takes over for the next commit: a call, what it saved and what it logged."""
        with self._lock:
            self._reused.append(_Reused(record, tuple(beside)))
            self._has_buffered = True

    @property
    def is_full(self) -> bool:
        """Whether so much is buffered that it deserves a commit of its own."""
        return len(self._reused) > _MOST_REUSED

    def enter(self, epoch: int) -> None:
        """Write under another claim from now on."""
        self._epoch = epoch

    def update_metadata(
        self, update: Callable[[Mapping[str, MetadataRecord]], Mapping[str, MetadataRecord]]
    ) -> None:
        """Keep what `update` makes of the execution's own metadata for the next commit."""
        with self._lock:
            changed = update(self._all_metadata)
            self._all_metadata.update(changed)
            self._metadata.update(changed)
            self._has_buffered = True

    def keep_event(self, kind: str, position: str, payload: Mapping[str, object]) -> None:
        """Keep an event for the next commit."""
        event = EventRecord(
            kind=kind,
            position=position,
            payload=json.dumps(payload, default=str),
            created_at=self._clock.now(),
        )
        with self._lock:
            self._events.append(event)
            self._has_buffered = True

    def _buffered(self) -> _Buffered:
        return _Buffered(
            tuple(self._values),
            tuple(self._metadata.values()),
            tuple(self._events),
            tuple(self._reused),
        )

    def _drop(self, written: _Buffered) -> None:
        gone = {id(entry) for entry in (*written.values, *written.events, *written.reused)}
        self._values = [value for value in self._values if id(value) not in gone]
        self._events = [event for event in self._events if id(event) not in gone]
        self._reused = [taken for taken in self._reused if id(taken) not in gone]
        for logged in written.metadata:
            if self._metadata.get(logged.key) is logged:
                del self._metadata[logged.key]
        self._has_buffered = bool(self._values or self._metadata or self._events or self._reused)


@dataclass(frozen=True, slots=True)
class _Reused:
    """A call that a replay takes over, with what it saved and logged."""

    call: CallRecord
    beside: tuple[ArtifactRecord | MetadataRecord, ...]


@dataclass(frozen=True, slots=True)
class _Buffered:
    values: tuple[CallRecord, ...]
    metadata: tuple[MetadataRecord, ...]
    events: tuple[EventRecord, ...]
    reused: tuple[_Reused, ...]
