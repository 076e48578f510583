"""What is recorded of an execution, and which record answers which call.

Model. Recovery runs the flow's function again from the top. Each call that it makes is looked up here
and, if a record answers it, the recorded value is returned in place of running the body. A call carries
a *position* (scope, name, ordinal) and a *fingerprint* (a hash of its name and arguments).

Matching, in this order:

a. the record at the same position with the same fingerprint: nothing has changed;
b. an unused record of the same name with the same fingerprint, elsewhere: calls were inserted, removed or
   reordered in the code, or branches raced. If the code is the same, a record that stands in another
   scope is left for the call that will ask for it there, unless chance may have put it there (neither it
   nor the call is ordered) and there are arguments to know it by;
c. an unused record at the same position with another fingerprint: a contradiction. If the code changed,
   nobody but the developer knows what is right, and `KitaruDivergenceError` says so. If it did not, and
   both the record and the call are ordered, the flow is merely not deterministic (a date in a prompt) and
   the record is used. If either is unordered the record may belong to another branch, and is left for it;
d. nothing: the call runs, at the next free ordinal.

Invariants: a record answers at most one call of a run; a position is given out at most once per run, so
that no two calls write the same row; call ids never repeat within an execution, across recoveries too.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable
from enum import StrEnum

from kitaru.errors import KitaruUsageError
from kitaru.model import CallKind, CallRecord, CallStatus, positional_record

# A replay was told of places, not of arguments: what it was given for one of several equal calls, or took
# over for one, is not another's. What has moved is found in the origin's journal again.
_PLACED = frozenset({CallStatus.OVERRIDDEN, CallStatus.REUSED})
_WAITS = frozenset({CallKind.WAIT, CallKind.TIMER})


class OnDivergence(StrEnum):
    """What to do with a record that contradicts a call (matching rule c)."""

    AUTO = "auto"
    REUSE = "reuse"
    RERUN = "rerun"
    FAIL = "fail"


@positional_record
class Match:
    """What the journal has for a call.

    Attributes:
        position: Where the call stands in the record: its own position or, if that is taken, the next
            free one; for a reused record, that record's.
        record: The record that answers the call, if one does.
        contradiction: The unused record at the call's own position with another fingerprint, if it
            decided anything.
        diverged: Whether the contradiction must stop the run.
        earlier: A row without an outcome at this position: a call id and attempts to go on from.
    """

    position: str
    record: CallRecord | None = None
    contradiction: CallRecord | None = None
    diverged: bool = False
    earlier: CallRecord | None = None


class Journal:
    """The records of one execution, as one run of its flow uses them up.

    Args:
        records: What is recorded.
        on_divergence: What to do with contradictions.
        code_changed: Whether the flow's code is another than when it was recorded.
        unanswered: Positions of waits that are still open. They are matched like records, so that a
            question stays the question of the call that asked it; they contradict nothing.
    """

    def __init__(
        self,
        records: Iterable[CallRecord] = (),
        *,
        on_divergence: OnDivergence = OnDivergence.AUTO,
        code_changed: bool = False,
        unanswered: Collection[str] = (),
    ) -> None:
        self._unanswered = unanswered
        self._on_divergence = on_divergence
        self._code_changed = code_changed
        self._lock = threading.Lock()
        self._recorded: dict[str, CallRecord] = {}
        self._open: dict[str, CallRecord] = {}
        # By scope, name and fingerprint; under `None`, those that calls of other scopes may have too.
        self._by_fingerprint: dict[tuple[str | None, CallKind, str, bytes], deque[str]] = {}
        self._used: set[str] = set()
        self._given: set[str] = set()
        self._counted: dict[str, int] = {}
        self._recorded_ids: set[str] = set()
        self._given_ids: set[str] = set()
        for record in records:
            self._recorded_ids.add(record.call_id)
            if record.status.is_recorded or record.kind in _WAITS:
                self._recorded[record.position] = record
                self._index(record)
            else:
                self._open[record.position] = record

    def _index(self, record: CallRecord) -> None:
        if record.status in _PLACED:
            return
        prefixes: list[str | None] = [record.position[: record.position.find("/") + 1]]
        if self._code_changed or not record.ordered:
            prefixes.append(None)
        for prefix in prefixes:
            key = (prefix, record.kind, record.name, record.fingerprint)
            self._by_fingerprint.setdefault(key, deque()).append(record.position)

    def match(
        self,
        prefix: str,
        name: str,
        ordinal: int,
        fingerprint: bytes,
        *,
        ordered: bool,
        placed: bool = False,
        kind: CallKind = CallKind.CHECKPOINT,
        anonymous: bool = False,
        label: str | None = None,
    ) -> Match:
        """Find what answers a call, and settle the position under which it stands.

        Args:
            prefix: The scope's path with its slash, or nothing for the root.
            name: The checkpoint's name.
            ordinal: Which call of that name in the scope it is.
            fingerprint: Of its name and arguments.
            ordered: Whether the scope is ordered where the call stands.
            placed: Whether it is a task's call before the task's first pause. Tasks are mostly created in
                program order, so another scope is looked at only if this one has other arguments here.
            kind: What the call is; a checkpoint and a flow may have the same name.
            anonymous: Whether it has no arguments, so that only its place tells it from others.
            label: The name that the position counts, if it is not the checkpoint's own (`id=`).
        """
        counted = label or name
        position = f"{prefix}{counted}#{ordinal}"
        if not self._recorded and not self._open:
            # The first run of an execution: nothing can match, and ordinals alone keep positions apart.
            return Match(position)
        with self._lock:
            here = self._recorded.get(position)
            is_another = here is not None and here.fingerprint != fingerprint
            if here is not None and (
                position in self._used or here.name != name or here.kind is not kind
            ):
                here = None
            if here is not None and here.fingerprint == fingerprint:
                self._used.add(position)
                return Match(position, here)
            moved = self._unused(prefix, kind, name, fingerprint)
            may_roam = not (ordered or anonymous) and (not placed or is_another)
            if moved is None and (self._code_changed or may_roam):
                moved = self._unused(None, kind, name, fingerprint)
            if moved is not None:
                self._used.add(moved.position)
                return Match(moved.position, moved)
            contradiction = None
            if here is not None and self._is_for_this_place(here, ordered=ordered):
                self._used.add(position)
                return Match(position, here)
            if here is not None and position not in self._unanswered:
                used, diverged = self._judge(here, ordered=ordered)
                contradiction = here
                if diverged:
                    return Match(position, None, here, diverged=True)
                if used:
                    self._used.add(position)
                    return Match(position, here, here)
            position = self._next_free(prefix, counted, ordinal)
            return Match(position, None, contradiction, earlier=self._open.get(position))

    def _is_for_this_place(self, record: CallRecord, *, ordered: bool) -> bool:
        """Whether a record answers the call at its place whatever its arguments, contradicting nothing.

        A replay was given the value for this place; or it is a question that nobody has answered yet,
        whose text has changed (a date in it).
        """
        if record.status is CallStatus.OVERRIDDEN:
            return True
        # In a task it may be another item's question, which someone may be answering right now.
        return record.position in self._unanswered and ordered and record.ordered

    def _next_free(self, prefix: str, counted: str, ordinal: int) -> str:
        """Give out the first position from `ordinal` on that neither a record nor a call has."""
        position = f"{prefix}{counted}#{ordinal}"
        while position in self._recorded or position in self._given:
            ordinal += 1
            position = f"{prefix}{counted}#{ordinal}"
        self._given.add(position)
        return position

    def _unused(
        self, prefix: str | None, kind: CallKind, name: str, fingerprint: bytes
    ) -> CallRecord | None:
        candidates = self._by_fingerprint.get((prefix, kind, name, fingerprint))
        while candidates:
            position = candidates.popleft()
            if position not in self._used:
                return self._recorded[position]
        return None

    def _judge(self, record: CallRecord, *, ordered: bool) -> tuple[bool, bool]:
        """Return whether a contradicting record is used, and whether the run must stop."""
        match self._on_divergence:
            case OnDivergence.REUSE:
                return True, False
            case OnDivergence.RERUN:
                return False, False
            case OnDivergence.FAIL:
                return False, True
            case OnDivergence.AUTO:
                if self._code_changed:
                    return False, True
                return ordered and record.ordered, False

    def take(self, record: CallRecord) -> bool:
        """Use up a record that contradicted a call; return False if another call has it."""
        with self._lock:
            if record.position in self._used:
                return False
            self._used.add(record.position)
            return True

    def new_call_id(self, name: str) -> str:
        """Return an id that no call of this execution has: `name`, `name-2` and so on."""
        with self._lock:
            number = self._counted.get(name, 0)
            while True:
                number += 1
                call_id = name if number == 1 else f"{name}-{number}"
                if call_id not in self._recorded_ids and call_id not in self._given_ids:
                    break
            self._counted[name] = number
            self._given_ids.add(call_id)
            return call_id

    def like(self, call_id: str) -> str:
        """Return the id that a call had in the execution that is replayed, or nothing if it is taken."""
        with self._lock:
            if call_id in self._recorded_ids or call_id in self._given_ids:
                return ""
            self._given_ids.add(call_id)
            return call_id

    def take_call_id(self, call_id: str) -> None:
        """Reserve an id that user code gave with `id=`.

        Raises:
            KitaruUsageError: Another call of this run has it.
        """
        with self._lock:
            if call_id in self._given_ids:
                message = f"two checkpoint calls of this execution have the id {call_id!r}; ids are unique."
                raise KitaruUsageError(message)
            self._given_ids.add(call_id)

    def refuse_recorded_id(self, call_id: str) -> None:
        """Refuse an id that user code gave to a call without a record, if a recorded call has it.

        Raises:
            KitaruUsageError: One has.
        """
        if call_id in self._recorded_ids:
            message = (
                f"the id {call_id!r} belongs to another recorded call of this execution;"
                f" ids are unique."
            )
            raise KitaruUsageError(message)

    @property
    def asked(self) -> int:
        """How many calls the flow has made so far; for watching."""
        return len(self._used) + len(self._given_ids)

    def unasked(self) -> list[CallRecord]:
        """Return the records of calls that this run never asked for, checkpoints and children only."""
        return [
            record
            for position, record in self._recorded.items()
            if position not in self._used
            and record.kind is not CallKind.VALUE
            and record.status.is_recorded
        ]
