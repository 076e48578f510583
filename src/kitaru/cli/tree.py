"""An execution's calls as a tree for people: fan-outs and tasks together, long rows summed up. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from kitaru.cli.output import moment_text, span_text
from kitaru.client import CheckpointCall, ExecutionStatus, PendingWait, WaitStatus
from kitaru.client.wording import one_line

_MANY = 20  # more siblings of one name than this are summed up
_NOTABLE = 5  # of which so many that need attention are shown
_ANSWER_CHARACTERS = 80
_TIMES = "\N{MULTIPLICATION SIGN}"
_TO = "\N{EN DASH}"

STYLES = {
    ExecutionStatus.COMPLETED: "green",
    ExecutionStatus.FAILED: "bold red",
    ExecutionStatus.RUNNING: "cyan",
    ExecutionStatus.WAITING: "yellow",
    ExecutionStatus.PENDING: "yellow",
    ExecutionStatus.CANCELLED: "magenta",
}


@dataclass(slots=True)
class Node:
    """One line, and the lines below it.

    Attributes:
        name: What it is.
        status: Coloured on a terminal; a group's is that of its worst member.
        note: What follows.
    """

    name: str
    status: ExecutionStatus | None
    note: str
    children: list[Node] = field(default_factory=list["Node"])


def nodes_of(
    calls: Sequence[CheckpointCall], remarks: Mapping[str, str] = MappingProxyType({})
) -> list[Node]:
    """Return the calls of an execution, those of each task below one another.

    Args:
        calls: The calls.
        remarks: What else there is to say of some of them, by call id.
    """
    root = _Scope("")
    scopes = {"": root}
    for call in calls:
        _scope(scopes, call.scope).members.append(call)
    return _Rows(remarks).level(root)


@dataclass(slots=True)
class _Scope:
    path: str
    members: list[CheckpointCall | _Scope] = field(default_factory=list["CheckpointCall | _Scope"])

    def calls(self) -> Iterator[CheckpointCall]:
        for member in self.members:
            if isinstance(member, _Scope):
                yield from member.calls()
            else:
                yield member


def _scope(scopes: dict[str, _Scope], path: str) -> _Scope:
    if path not in scopes:
        scopes[path] = _Scope(path)
        _scope(scopes, path.rpartition(".")[0]).members.append(scopes[path])
    return scopes[path]


class _Rows:
    """Makes lines of calls.

    Args:
        remarks: What else there is to say of some of them, by call id.
    """

    def __init__(self, remarks: Mapping[str, str]) -> None:
        self._remarks = remarks

    def level(self, scope: _Scope) -> list[Node]:
        members = [_alone(member) for member in scope.members]
        rows: dict[object, list[CheckpointCall | _Scope]] = {}
        for member in members:
            rows.setdefault(_row_of(member), []).append(member)
        # Many calls of one name are one row wherever they stand; few stay where they are, unless they
        # are a fan-out.
        by_name = Counter(_name_of(member) for member in members)
        nodes: list[Node] = []
        shown: set[object] = set()
        for member in members:
            name, row = _name_of(member), _row_of(member)
            if by_name[name] > _MANY:
                if name not in shown:
                    shown.add(name)
                    nodes.append(self._sum([other for other in members if _name_of(other) == name]))
            elif len(rows[row]) > 1:
                if row not in shown:
                    shown.add(row)
                    nodes.append(self._fan_out(rows[row]))
            else:
                nodes.append(self._node(member))
        return nodes

    def _fan_out(self, members: Sequence[CheckpointCall | _Scope]) -> Node:
        group = self._sum(members)
        # Threads begin in any order; people look for the third in the third place.
        group.children = [self._node(member) for member in sorted(members, key=_ordinal)]
        return group

    def _sum(self, members: Sequence[CheckpointCall | _Scope]) -> Node:
        """Return one line for many members, and below it those that need attention."""
        statuses = Counter(_status_of(member) for member in members)
        counts = [f"{statuses[status]} {status.value}" for status in _AS_TOLD if statuses[status]]
        spans = sorted(span for member in members if (span := _span_of(member)) is not None)
        notes = [", ".join(counts), *([_range(spans[0], spans[-1])] if spans else [])]
        first = members[0]
        name = "task" if isinstance(first, _Scope) else first.name
        notable = [member for member in members if _status_of(member) is ExecutionStatus.FAILED]
        children = [self._node(member) for member in notable[:_NOTABLE]]
        if len(notable) > _NOTABLE:
            children.append(Node(f"… and {len(notable) - _NOTABLE} more", None, ""))
        worst = next(status for status in reversed(_BEST_FIRST) if statuses[status])
        return Node(f"{name} {_TIMES}{len(members)}", worst, ", ".join(notes), children)

    def _node(self, member: CheckpointCall | _Scope) -> Node:
        if isinstance(member, _Scope):
            return Node(f"task {member.path}", None, "", self.level(member))
        return Node(member.call_id, member.status, "  ".join(self._notes(member)))

    def _notes(self, call: CheckpointCall) -> Iterator[str]:
        yield from _notes(call)
        if call.call_id in self._remarks:
            yield self._remarks[call.call_id]


def _alone(member: CheckpointCall | _Scope) -> CheckpointCall | _Scope:
    """Return the call of a task that made only one."""
    while isinstance(member, _Scope) and len(member.members) == 1:
        member = member.members[0]
    return member


def _name_of(member: CheckpointCall | _Scope) -> object:
    if isinstance(member, _Scope):
        return tuple(call.name for call in member.calls())
    return member.name


def _row_of(member: CheckpointCall | _Scope) -> object:
    """Return what members of one fan-out have in common."""
    if isinstance(member, _Scope):
        return member.path
    return member.name, member.parent_call_ids


def _notes(call: CheckpointCall) -> Iterator[str]:
    if call.duration is not None:
        yield span_text(call.duration)
    if call.original_call_id is not None:
        yield _origin_note(call)
    if len(call.attempts) > 1:
        yield f"{len(call.attempts)} attempts"
    if call.wakes_at is not None and call.status is ExecutionStatus.WAITING:
        yield f"sleeps until {moment_text(call.wakes_at)}"
    if call.child_exec_id is not None:
        yield f"execution {call.child_exec_id}"
    if is_cut_off(call):
        yield "cut off when the flow failed"
    if call.failure is not None:
        yield failure_line(call.failure.exception_type, call.failure.message)


def _origin_note(call: CheckpointCall) -> str:
    origin = call.original_call_id or ""
    if call.is_overridden:
        return f"overridden, in place of {origin}"
    return f"{'reused' if call.is_reused else 'cached'} from {origin}"


def wait_line(wait: PendingWait) -> str:
    """Return in one line what is asked, or what became of it."""
    by = f" by {wait.resolved_by}" if wait.resolved_by else ""
    match wait.status:
        case WaitStatus.OPEN:
            return f"asks: {one_line(wait.question)}" if wait.question else "asks for an answer"
        case WaitStatus.ANSWERED if wait.schema is None:
            return f"continued{by}"
        case WaitStatus.ANSWERED:
            answer = json.dumps(wait.answer, ensure_ascii=False)
            return f"answered{by}: {one_line(answer, _ANSWER_CHARACTERS)}"
        case WaitStatus.ABORTED:
            return f"aborted{by}"
        case WaitStatus.EXPIRED:
            return "expired"
        case WaitStatus.CLOSED:
            return "never answered"


def is_cut_off(call: CheckpointCall) -> bool:
    """Return whether a call has no outcome of its own because its flow had failed before."""
    return call.status is ExecutionStatus.FAILED and call.ended_at is None


def failure_line(exception_type: str | None, message: str, limit: int = 100) -> str:
    """Return a failure in one line."""
    name = (exception_type or "").rpartition(".")[2]
    text = " ".join(f"{name}: {message}".split()) if name else " ".join(message.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _ordinal(member: CheckpointCall | _Scope) -> int:
    """Return which call of its name this is; scopes stay where they are, before all calls."""
    if isinstance(member, _Scope):
        return 0
    number = member.call_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 1


_AS_TOLD = [
    ExecutionStatus.COMPLETED,
    ExecutionStatus.FAILED,
    ExecutionStatus.RUNNING,
    ExecutionStatus.WAITING,
    ExecutionStatus.PENDING,
    ExecutionStatus.CANCELLED,
]
_BEST_FIRST = [
    ExecutionStatus.COMPLETED,
    ExecutionStatus.PENDING,
    ExecutionStatus.WAITING,
    ExecutionStatus.RUNNING,
    ExecutionStatus.CANCELLED,
    ExecutionStatus.FAILED,
]


def _status_of(member: CheckpointCall | _Scope) -> ExecutionStatus:
    if isinstance(member, _Scope):
        present = {call.status for call in member.calls()}
        return next(status for status in reversed(_BEST_FIRST) if status in present)
    return member.status


def _span_of(member: CheckpointCall | _Scope) -> timedelta | None:
    if not isinstance(member, _Scope):
        return member.duration
    starts = [call.started_at for call in member.calls() if call.started_at is not None]
    ends = [call.ended_at for call in member.calls() if call.ended_at is not None]
    return max(ends) - min(starts) if starts and ends else None


def _range(shortest: timedelta, longest: timedelta) -> str:
    low, high = span_text(shortest), span_text(longest)
    if low == high:
        return low
    seconds = all(text.endswith(" s") and "min" not in text for text in (low, high))
    return f"{low.removesuffix(' s') if seconds else low}{_TO}{high}"
