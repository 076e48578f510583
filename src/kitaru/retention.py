"""How long finished executions are kept: rules, and how people write them.

Pure policy: which executions there are is the store's business, and when somebody looks is the caller's.
Without a rule, everything is kept for ever.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import cast

from kitaru.errors import KitaruUsageError
from kitaru.statuses import ExecutionStatus

_MICROSECOND = timedelta(microseconds=1)
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
# Some 300 years: moments are integers of 64 bits, and nobody means more.
_LONGEST = timedelta(days=100_000)
_MOST = 2**31

_FINISHED = tuple(status for status in ExecutionStatus if status.is_finished)
_FIELDS = ("older_than", "keep", "flows", "statuses")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """Which finished executions may go.

    One goes if it fits in every respect: its flow, its status, it ended longer than `older_than` ago, and at
    least `keep` newer ones of its flow and of these statuses stay. Executions that others have started go
    and stay with those.

    Attributes:
        flows: Names of flows, in which `*` and `?` stand for anything; none means any flow.
        statuses: How they ended.
        older_than: Only what ended longer ago than this.
        keep: How many of each flow stay in any case, the newest.

    Raises:
        KitaruUsageError: Neither `older_than` nor `keep` is given, or a value makes no sense.
    """

    flows: tuple[str, ...] = ()
    statuses: tuple[ExecutionStatus, ...] = _FINISHED
    older_than: timedelta | None = None
    keep: int | None = None

    def __post_init__(self) -> None:
        if self.older_than is None and self.keep is None:
            message = "expected a retention rule to have `older_than` or `keep`, got neither"
            raise KitaruUsageError(message)
        if self.older_than is not None and not timedelta() <= self.older_than <= _LONGEST:
            message = (
                f"expected `older_than` to be between 0 and {_LONGEST.days} days,"
                f" got: {self.older_than}"
            )
            raise KitaruUsageError(message)
        if self.keep is not None and not 0 <= self.keep < _MOST:
            message = f"expected `keep` to be a whole number, 0 or more, got: {self.keep!r}"
            raise KitaruUsageError(message)
        unfinished = [status.value for status in self.statuses if not status.is_finished]
        if unfinished or not self.statuses:
            words = ", ".join(repr(status.value) for status in _FINISHED)
            shown = repr(unfinished[0]) if unfinished else "none"
            message = f"expected `statuses` to be among {words}, got: {shown}"
            raise KitaruUsageError(message)

    def covers(self, flow: str) -> bool:
        """Whether the rule is about executions of this flow."""
        return not self.flows or any(fnmatchcase(flow, pattern) for pattern in self.flows)

    def ended_before(self, now: int) -> int:
        """Return the moment before which an execution must have ended to go."""
        return now + 1 if self.older_than is None else now - self.older_than // _MICROSECOND

    def __str__(self) -> str:
        parts = [f"flows {', '.join(self.flows)}" if self.flows else "any flow"]
        if set(self.statuses) != set(_FINISHED):
            parts.append(", ".join(self.statuses))
        if self.older_than is not None:
            parts.append(f"older than {span_words(self.older_than)}")
        if self.keep is not None:
            parts.append(f"keep {self.keep}")
        return "; ".join(parts)


def read_span(value: object) -> timedelta:
    """Return a span that is written as `90s`, `15m`, `12h`, `30d`, `2w` or a number of seconds.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    found = _SPAN.fullmatch(text)
    if found is None or isinstance(value, bool):
        message = f"no span: {value!r}"
        raise ValueError(message)
    amount, unit = float(found[1]), _UNITS[found[2] or "s"]
    if amount * unit.total_seconds() > _LONGEST.total_seconds():
        message = f"too long a span: {value!r}"
        raise ValueError(message)
    return amount * unit


def span_words(span: timedelta) -> str:
    """Return a span as `read_span` reads it, in the largest unit that leaves nothing over."""
    for letter in "wdhms":
        if span and not span % _UNITS[letter]:
            return f"{span // _UNITS[letter]}{letter}"
    return f"{span.total_seconds():g}s"


def read_rules(value: object, place: str) -> tuple[RetentionRule, ...]:
    """Return the rules that a file or a variable lists.

    Args:
        value: What was read: a list of tables.
        place: Where it stands, for errors.

    Raises:
        KitaruUsageError: A rule is not acceptable; it is named with its field.
    """
    if not isinstance(value, list | tuple):
        message = (
            f"expected {place} to be a list of rules such as {{older_than = '30d'}}, got: {value!r}"
        )
        raise KitaruUsageError(message)
    listed = cast("Sequence[object]", value)
    return tuple(
        _rule(found, f"rule {number} of {place}") for number, found in enumerate(listed, 1)
    )


def rules_to_json(rules: Sequence[RetentionRule]) -> str:
    """Return rules as the environment variable has them."""
    return json.dumps(
        [
            {
                "flows": list(rule.flows),
                "statuses": [status.value for status in rule.statuses],
                **({} if rule.keep is None else {"keep": rule.keep}),
                **({} if rule.older_than is None else {"older_than": span_words(rule.older_than)}),
            }
            for rule in rules
        ]
    )


def _rule(found: object, place: str) -> RetentionRule:
    if isinstance(found, RetentionRule):
        return found
    if not isinstance(found, Mapping):
        message = f"expected {place} to be a table such as {{older_than = '30d'}}, got: {found!r}"
        raise KitaruUsageError(message)
    table = cast("Mapping[str, object]", found)
    for name in table:
        if name not in _FIELDS:
            close = difflib.get_close_matches(str(name), _FIELDS, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else f"Known keys: {', '.join(_FIELDS)}."
            message = f"unknown key `{name}` in {place}. {hint}"
            raise KitaruUsageError(message)
    try:
        return RetentionRule(
            flows=_texts(table.get("flows", ()), f"`flows` in {place}"),
            statuses=read_statuses(
                table.get("statuses", list(_FINISHED)), f"`statuses` in {place}"
            ),
            older_than=_span(table.get("older_than"), f"`older_than` in {place}"),
            keep=_whole(table.get("keep"), f"`keep` in {place}"),
        )
    except KitaruUsageError as error:
        if place in error.message:
            raise
        message = f"{place} is not acceptable: {error.message}"
        raise KitaruUsageError(message) from error


def read_statuses(value: object, place: str) -> tuple[ExecutionStatus, ...]:
    """Return the statuses of finished executions that words name.

    Raises:
        KitaruUsageError: A word is none.
    """
    words = _texts(value, place)
    known = [status.value for status in _FINISHED]
    for word in words:
        if word not in known:
            close = difflib.get_close_matches(word, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            message = (
                f"expected {place} to be among {', '.join(map(repr, known))}, got: {word!r}.{hint}"
            )
            raise KitaruUsageError(message)
    return tuple(ExecutionStatus(word) for word in dict.fromkeys(words))


def _texts(value: object, place: str) -> tuple[str, ...]:
    items = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [None]
    texts = tuple(item for item in items if isinstance(item, str) and item.strip())
    if len(texts) != len(items):
        message = f"expected {place} to be a list of words, got: {value!r}"
        raise KitaruUsageError(message)
    return texts


def _span(value: object, place: str) -> timedelta | None:
    if value is None:
        return None
    try:
        return read_span(value)
    except ValueError as error:
        message = f"expected {place} to be a span such as '90s', '15m', '12h', '30d' or '2w', got: {value!r}"
        raise KitaruUsageError(message) from error


def _whole(value: object, place: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    message = f"expected {place} to be a whole number, 0 or more, got: {value!r}"
    raise KitaruUsageError(message)


@dataclass(frozen=True, slots=True)
class Prunable:
    """An execution that a rule would prune, with all that it has started."""

    exec_id: str
    project: str
    flow: str
    status: ExecutionStatus


@dataclass(frozen=True, slots=True)
class PruningKey:
    """Where looking for executions has come to; opaque to everybody but the store."""

    project: str
    flow: str
    status: str | None = None
    created_at: int = 0
    exec_id: str = ""
    beyond: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class PrunablePage:
    """What was found of a rule's executions, perhaps nothing, and where to look on."""

    found: tuple[Prunable, ...]
    after: PruningKey | None


@dataclass(frozen=True, slots=True)
class TreeSizes:
    """What executions and all that they have started take.

    Attributes:
        executions: How many they are, all together.
        inline_bytes: Of the values that lie in rows.
        blob_bytes: Of the values that are blobs, each as often as it is named; others may name them too.
    """

    executions: int
    inline_bytes: int
    blob_bytes: int


@dataclass(frozen=True, slots=True)
class PruneStep:
    """What one short transaction has done.

    Attributes:
        pruned: What is gone, each with how many executions it took with it.
        left: What was not looked at, or not finished with; the next step's work.
        skipped: What stays: it does not fit any more, or something unfinished may need it.
    """

    pruned: tuple[tuple[Prunable, int], ...] = ()
    left: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Space:
    """What a store's file takes on the disk, and how much of that is free to be written before it grows."""

    file_bytes: int
    free_bytes: int
