"""How two executions differ: what went in, what came out, and call by call how it came about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kitaru.client.comparing import SAME, ValueDiff, compare
from kitaru.client.matching import in_order, matched_calls
from kitaru.client.story import error_words
from kitaru.errors import KitaruError, KitaruNotFoundError
from kitaru.model import (
    CallKind,
    CallRecord,
    CallStatus,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
    FailureRecord,
    StoredValue,
)

if TYPE_CHECKING:
    from kitaru.client.connection import Connection

_PAGE = 500
_SHOWN = 20  # calls that differ in one way, as text

_CAME_ABOUT = {
    CallStatus.PENDING: "to be retried",
    CallStatus.RUNNING: "not over",
    CallStatus.COMPLETED: "ran",
    CallStatus.CACHED: "cached",
    CallStatus.REUSED: "reused",
    CallStatus.OVERRIDDEN: "overridden",
    CallStatus.FAILED: "failed",
}
_OPEN = ("to be retried", "not over")
_CHILD = {
    ExecutionStatus.COMPLETED: "ran",
    ExecutionStatus.FAILED: "failed",
    ExecutionStatus.CANCELLED: "cancelled",
}


class DiffKind(StrEnum):
    """What became of a call, from the one execution to the other."""

    SAME = "same"
    CHANGED = "changed"
    ONLY_HERE = "only_here"
    ONLY_THERE = "only_there"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDiff:
    """One call of both executions, or of one of them.

    Attributes:
        kind: `same` if it was asked the same and the same came of it, however that came about.
        call_id: Its id here; there, if it is only there.
        name: The checkpoint's, the flow's or the wait's.
        position: Where it stands, here or there as `call_id`.
        here: How it came about here: `ran`, `cached`, `reused`, `overridden`, `answered`, `failed`, `not
            over` and so on; None if it is only there.
        there: The same, there; `ran again` if the other execution replays the one.
        inputs: How what it was asked differs.
        output: How what came of it differs; of a child, its result.
        here_failure: What it failed with here.
        there_failure: What it failed with there.
        here_duration: How long it took here, its retries included; None while it is not over.
        there_duration: How long it took there.
    """

    kind: DiffKind
    call_id: str
    name: str
    position: str
    here: str | None
    there: str | None
    inputs: ValueDiff = SAME
    output: ValueDiff = SAME
    here_failure: str | None = None
    there_failure: str | None = None
    here_duration: timedelta | None = None
    there_duration: timedelta | None = None

    def lines(self) -> tuple[str, ...]:
        """Return what differs, one line for each part."""
        return (
            *(f"input {line}" for line in self.inputs.lines()),
            *(f"output {line}" for line in self.output.lines()),
            *_failure_lines(self.here_failure, self.there_failure),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionDiff:
    """How two executions differ; "here" is the first, "there" the other.

    Attributes:
        is_same_flow: Whether both ran the flow of the same name.
        is_same_code: Whether its source was the same.
        is_replay: Whether the other replays the first.
        status: Of the first.
        other_status: Of the other.
        inputs: How what the flows were given differs.
        result: How what they returned differs.
        failure: What the first failed with.
        other_failure: What the other failed with.
        calls: In the order of the first execution; what is only there stands where it came there.
    """

    exec_id: str
    other_id: str
    flow_name: str
    other_flow_name: str
    is_same_flow: bool
    is_same_code: bool
    is_replay: bool
    status: ExecutionStatus
    other_status: ExecutionStatus
    inputs: ValueDiff
    result: ValueDiff
    failure: str | None
    other_failure: str | None
    calls: tuple[CallDiff, ...]

    @property
    def same(self) -> int:
        """How many calls are the same."""
        return self._count(DiffKind.SAME)

    @property
    def changed(self) -> int:
        """How many calls are in both and differ."""
        return self._count(DiffKind.CHANGED)

    @property
    def only_here(self) -> int:
        """How many calls only the first execution has."""
        return self._count(DiffKind.ONLY_HERE)

    @property
    def only_there(self) -> int:
        """How many calls only the other execution has."""
        return self._count(DiffKind.ONLY_THERE)

    @property
    def is_same(self) -> bool:
        """Whether both did and came to the same, whatever their code and however it came about."""
        return (
            self.is_same_flow
            and self.status is self.other_status
            and self.inputs.is_same
            and self.result.is_same
            and self.failure == self.other_failure
            and self.same == len(self.calls)
        )

    def _count(self, kind: DiffKind) -> int:
        return sum(call.kind is kind for call in self.calls)

    def __str__(self) -> str:
        return "\n".join(_text(self))


def diff(
    connection: Connection, execution: ExecutionRecord, other: ExecutionRecord
) -> ExecutionDiff:
    """Return how two executions differ.

    Args:
        connection: Where they are kept.
        execution: The first, which stands for "here".
        other: The other, which stands for "there".
    """
    is_replay = other.origin_id == execution.id
    here = _Side(connection, execution, "ran")
    there = _Side(connection, other, "ran again" if is_replay else "ran")
    pairs = in_order(here.calls, there.calls, matched_calls(here.calls, there.calls))
    return ExecutionDiff(
        exec_id=execution.id,
        other_id=other.id,
        flow_name=execution.flow,
        other_flow_name=other.flow,
        is_same_flow=execution.flow == other.flow,
        is_same_code=execution.code_hash == other.code_hash,
        is_replay=is_replay,
        status=execution.status,
        other_status=other.status,
        inputs=compare(connection, execution.inputs, other.inputs),
        result=compare(connection, execution.result, other.result),
        failure=_words_of(execution.failure),
        other_failure=_words_of(other.failure),
        calls=tuple(_call_diff(connection, here, there, *pair) for pair in pairs),
    )


# What a call came to


class _Side:
    """The calls of one execution.

    Args:
        connection: Where it is kept.
        execution: Its row.
        ran: What a body that ran did.
    """

    def __init__(self, connection: Connection, execution: ExecutionRecord, ran: str) -> None:
        self._connection = connection
        self._execution = execution
        self._ran = ran
        self._children: dict[str, ExecutionRecord] | None = None
        self.calls = sorted(
            (
                call
                for call in connection.store.list_calls(execution.id)
                if call.kind is not CallKind.VALUE
            ),
            key=lambda call: call.started_at,
        )

    def outcome(self, call: CallRecord) -> _Outcome:
        """Return what a call came to; what a child has come to is its execution's business."""
        came_about = _CAME_ABOUT[call.status]
        if call.status is CallStatus.COMPLETED:
            # A question is answered, a timer has run out.
            words = {CallKind.WAIT: "answered", CallKind.TIMER: "over"}
            came_about = words.get(call.kind, self._ran)
        ended_at = call.ended_at
        if call.kind is CallKind.CHILD and call.output is not None:
            child = self._child(call.output)
            if child is not None:
                if call.status is not CallStatus.REUSED:
                    came_about = _CHILD.get(child.status, "not over")
                    came_about = self._ran if came_about == "ran" else came_about
                return _Outcome(
                    came_about,
                    child.result,
                    _words_of(child.failure),
                    _between(call.started_at, child.ended_at),
                )
        return _Outcome(
            came_about, call.output, _words_of(call.failure), _between(call.started_at, ended_at)
        )

    def _child(self, output: StoredValue) -> ExecutionRecord | None:
        store = self._connection.store
        try:
            exec_id = str(self._connection.describe(output))
        except KitaruError:
            return None
        if self._children is None:
            self._children = {child.id: child for child in self._own_children()}
        if exec_id not in self._children:
            # A replay takes over the children of what it replays.
            try:
                self._children[exec_id] = store.get_execution(exec_id)
            except KitaruNotFoundError:
                return None
        return self._children[exec_id]

    def _own_children(self) -> Iterator[ExecutionRecord]:
        where = ExecutionFilter(project=self._execution.project, parent_id=self._execution.id)
        before: tuple[int, str] | None = None
        while page := self._connection.store.list_executions(where, limit=_PAGE, before=before):
            yield from page
            before = (page[-1].created_at, page[-1].id)


@dataclass(frozen=True, slots=True)
class _Outcome:
    came_about: str
    output: StoredValue | None
    failure: str | None
    duration: timedelta | None


def _call_diff(
    connection: Connection,
    here: _Side,
    there: _Side,
    left: CallRecord | None,
    right: CallRecord | None,
) -> CallDiff:
    shown = left or right
    assert shown is not None  # noqa: S101 - a pair has at least one call
    outcome = None if left is None else here.outcome(left)
    other = None if right is None else there.outcome(right)
    known: dict[str, Any] = {
        "call_id": shown.call_id,
        "name": shown.name,
        "position": shown.position,
        "here": None if outcome is None else outcome.came_about,
        "there": None if other is None else other.came_about,
        "here_failure": None if outcome is None else outcome.failure,
        "there_failure": None if other is None else other.failure,
        "here_duration": None if outcome is None else outcome.duration,
        "there_duration": None if other is None else other.duration,
    }
    if left is None or right is None or outcome is None or other is None:
        kind = DiffKind.ONLY_THERE if left is None else DiffKind.ONLY_HERE
        return CallDiff(kind=kind, **known)
    inputs = compare(connection, left.inputs, right.inputs)
    output = compare(connection, outcome.output, other.output)
    is_same = (
        inputs.is_same
        and output.is_same
        and outcome.failure == other.failure
        # None came of both, but one may still come to something.
        and (outcome.came_about in _OPEN) == (other.came_about in _OPEN)
    )
    kind = DiffKind.SAME if is_same else DiffKind.CHANGED
    return CallDiff(kind=kind, inputs=inputs, output=output, **known)


def _between(start: int, end: int | None) -> timedelta | None:
    return None if end is None else timedelta(microseconds=end - start)


def _words_of(failure: FailureRecord | None) -> str | None:
    return None if failure is None else error_words(failure)


# As text


def _text(found: ExecutionDiff) -> Iterator[str]:
    relation = "replays" if found.is_replay else "is compared with"
    yield f"execution {found.other_id!r} {relation} execution {found.exec_id!r}"
    if found.is_same_flow:
        yield f"flow: {found.flow_name!r}, {'the same' if found.is_same_code else 'other'} code"
    else:
        yield f"flow: {found.flow_name!r} -> {found.other_flow_name!r}"
    if found.status is found.other_status:
        yield f"status: {found.status.value}"
    else:
        yield f"status: {found.status.value} -> {found.other_status.value}"
    yield from _value_lines("inputs", found.inputs)
    yield from _value_lines("result", found.result)
    yield from _failure_lines(found.failure, found.other_failure)
    yield f"calls: {_summary(found.calls)}"
    shown: Counter[DiffKind] = Counter()
    for call in found.calls:
        if call.kind is DiffKind.SAME:
            continue
        shown[call.kind] += 1
        if shown[call.kind] <= _SHOWN:
            yield f"  {call.call_id}: {_kind_words(call)}"
            yield from (f"    {line}" for line in call.lines())
    for kind, count in shown.items():
        if count > _SHOWN:
            yield f"  and {count - _SHOWN} more {kind.value.replace('_', ' ')}"


def _summary(calls: Sequence[CallDiff]) -> str:
    """Return how many calls are what: `32 same (reused), 1 changed (overridden)`."""
    counts = Counter((call.kind, _how(call)) for call in calls)
    told = [
        f"{count} {kind.value.replace('_', ' ')} ({how})"
        for (kind, how), count in sorted(counts.items(), key=lambda entry: _rank(*entry[0]))
    ]
    return ", ".join(told) or "none"


def _rank(kind: DiffKind, how: str) -> tuple[int, str]:
    return list(DiffKind).index(kind), how


def _how(call: CallDiff) -> str:
    return (call.here if call.there is None else call.there) or ""


def _kind_words(call: CallDiff) -> str:
    words = call.kind.value.replace("_", " ")
    if call.here is None or call.there is None:
        return f"{words} ({_how(call)})"
    return f"{words} ({call.here}, {call.there} there)" if call.here != call.there else words


def _value_lines(label: str, found: ValueDiff) -> Iterator[str]:
    if found.is_same:
        yield f"{label}: same"
        return
    yield f"{label}: changed"
    yield from (f"  {line}" for line in found.lines())


def _failure_lines(here: str | None, there: str | None) -> Iterator[str]:
    if here != there:
        yield f"failure: {here or 'none'} -> {there or 'none'}"
