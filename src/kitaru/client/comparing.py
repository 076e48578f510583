"""How two kept values differ, by what they hold: nothing is imported, built or run for it.

Equal bytes are equal values, and are not even fetched. Others are described and compared part by part,
without recursion, since a value may be nested as deeply as it likes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from kitaru.client.wording import one_line
from kitaru.errors import KitaruError
from kitaru.schemas.texts import is_list, is_object, step

if TYPE_CHECKING:
    from kitaru.client.connection import Connection
    from kitaru.model import StoredValue

UserValue = Any

MOST_PATHS = 20
_PREVIEW = 60  # characters of a value

_SETS = ("set", "frozenset")
_PAIRS = ("dict", "ordered_dict", "counter", "default_dict")


class ChangeKind(StrEnum):
    """What happened to a part of a value, from here to there."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """One part of a value that differs.

    Attributes:
        path: Where it is, such as `topic` or `items[2].price`; empty for the whole value.
        kind: `changed`, `added` or `removed`.
        here: What it is here, shortened; None if it is not.
        there: The same, there.
    """

    path: str
    kind: ChangeKind
    here: str | None
    there: str | None

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        match self.kind:
            case ChangeKind.CHANGED:
                return f"{where}{self.here} -> {self.there}"
            case ChangeKind.ADDED:
                return f"{where}added {self.there}"
            case ChangeKind.REMOVED:
                return f"{where}removed {self.here}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDiff:
    """How two values differ.

    Attributes:
        is_same: Whether they are kept as the same bytes.
        changes: The parts that differ, the first 20.
        more: How many others there are.
        problem: Why one of them cannot be looked into, if so.
    """

    is_same: bool
    changes: tuple[ValueChange, ...] = ()
    more: int = 0
    problem: str | None = None

    def lines(self) -> tuple[str, ...]:
        """Return one line for each part that differs; none if they are the same."""
        if self.is_same:
            return ()
        if self.problem is not None:
            return (f"changed ({self.problem})",)
        if not self.changes:
            # Another order in a dict, a subclass, a pickle.
            return ("changed (not visible)",)
        rest = (f"and {self.more} more",) if self.more else ()
        return (*map(str, self.changes), *rest)


SAME = ValueDiff(is_same=True)


def compare(
    connection: Connection, here: StoredValue | None, there: StoredValue | None
) -> ValueDiff:
    """Return how two kept values differ; None stands for no value at all."""
    if here is None and there is None:
        return SAME
    if here is not None and there is not None and _is_kept_alike(here, there):
        return SAME
    try:
        if here is None or there is None:
            return _one_sided(connection, here, there)
        return _described(connection.describe(here), connection.describe(there))
    except KitaruError as error:
        # Its bytes are lost or damaged; the rest can be compared all the same.
        return ValueDiff(is_same=False, problem=one_line(error.message))


def _is_kept_alike(here: StoredValue, there: StoredValue) -> bool:
    if (here.size, here.codec) != (there.size, there.codec):
        return False
    # Of one size, both lie in their rows or both in the blob store.
    return (here.data, here.digest) == (there.data, there.digest)


def _one_sided(
    connection: Connection, here: StoredValue | None, there: StoredValue | None
) -> ValueDiff:
    shown_here = None if here is None else preview(connection.describe(here))
    shown_there = None if there is None else preview(connection.describe(there))
    kind = ChangeKind.ADDED if here is None else ChangeKind.REMOVED
    return ValueDiff(is_same=False, changes=(_change("", kind, shown_here, shown_there),))


def _change(path: str, kind: ChangeKind, here: str | None, there: str | None) -> ValueChange:
    return ValueChange(path=path.removeprefix("."), kind=kind, here=here, there=there)


def _described(here: UserValue, there: UserValue) -> ValueDiff:
    found: list[ValueChange] = []
    count = 0
    for path, kind, left, right in _differences(here, there):
        count += 1
        if len(found) < MOST_PATHS:
            shown_here = None if kind is ChangeKind.ADDED else preview(left)
            shown_there = None if kind is ChangeKind.REMOVED else preview(right)
            found.append(_change(path, kind, shown_here, shown_there))
    return ValueDiff(is_same=False, changes=tuple(found), more=count - len(found))


def _differences(
    here: UserValue, there: UserValue
) -> Iterator[tuple[str, ChangeKind, UserValue, UserValue]]:
    """Yield the parts that differ, in the order in which they stand."""
    to_do: list[tuple[_Path, ChangeKind | None, UserValue, UserValue]] = [
        (_Path(), None, here, there)
    ]
    while to_do:
        path, kind, left, right = to_do.pop()
        if kind is not None:
            yield str(path), kind, left, right
            continue
        parts_here, parts_there = _parts(left), _parts(right)
        if parts_here is None or parts_there is None or parts_here[0] != parts_there[0]:
            if type(left) is not type(right) or left != right:
                yield str(path), ChangeKind.CHANGED, left, right
            continue
        below: list[tuple[_Path, ChangeKind | None, UserValue, UserValue]] = []
        inside_here, inside_there = parts_here[1], parts_there[1]
        for key, part in inside_here.items():
            if key in inside_there:
                below.append((_Path(path, key), None, part, inside_there[key]))
            else:
                below.append((_Path(path, key), ChangeKind.REMOVED, part, None))
        for key, part in inside_there.items():
            if key not in inside_here:
                below.append((_Path(path, key), ChangeKind.ADDED, None, part))
        to_do.extend(reversed(below))


@dataclass(frozen=True, slots=True)
class _Path:
    """A path, put into words only if something is found at its end."""

    above: _Path | None = None
    key: str | int = ""

    def __str__(self) -> str:
        steps: list[str] = []
        path = self
        while path.above is not None:
            steps.append(step(path.key))
            path = path.above
        return "".join(reversed(steps))


def _parts(found: UserValue) -> tuple[str, Mapping[Any, UserValue]] | None:
    """Return what kind of container a description is of, and its parts by key; None if of no container."""
    if is_list(found):
        return "list", dict(enumerate(found))
    if not is_object(found):
        return None
    kind = str(found.get("$type", ""))
    items = found.get("items")
    if found.keys() != {"$type", "items"} or not is_list(items):
        # Of another class, it is another value as a whole.
        return kind, {key: part for key, part in found.items() if key != "$type"}
    if kind in _SETS:
        return kind, {_key(part): part for part in items}
    if kind in _PAIRS and all(is_list(pair) and len(pair) == 2 for pair in items):
        pairs = cast("list[list[UserValue]]", items)
        return kind, {_key(key): part for key, part in pairs}
    return kind, dict(enumerate(items))


def _key(key: UserValue) -> str | int:
    return (
        key
        if isinstance(key, str | int) and not isinstance(key, bool)
        else preview(key, 10 * _PREVIEW)
    )


def preview(found: UserValue, limit: int = _PREVIEW) -> str:
    """Return a described value on one line of at most so many characters.

    Only as much of it is looked at as is shown.
    """
    shown: list[str] = []
    length = 0
    for piece in _pieces(found, limit):
        shown.append(piece)
        length += len(piece)
        if length > limit:
            break
    return one_line("".join(shown), limit)


def _pieces(found: UserValue, levels: int) -> Iterator[str]:
    """Yield the text of a described value piece by piece, as people would write it."""
    if levels <= 0:
        yield "…"
    elif is_list(found):
        yield from _listed("[", found, "]", levels)
    elif not is_object(found):
        # Beyond the cut, escaping a long text would be work for nothing.
        short = found[: 10 * _PREVIEW + 1] if isinstance(found, str) else found
        yield json.dumps(short, ensure_ascii=False)
    elif "$pickle" in found:
        yield f"<{found['$pickle']}>"
    elif "$ref" in found:
        yield "<…>"
    elif "$type" in found:
        yield from _typed(found, levels)
    else:
        pairs = ((json.dumps(key, ensure_ascii=False) + ": ", part) for key, part in found.items())
        yield from _joined("{", pairs, "}", levels)


def _typed(found: dict[str, UserValue], levels: int) -> Iterator[str]:
    name = str(found["$type"]).rpartition(":")[2]
    rest = {key: part for key, part in found.items() if key != "$type"}
    if name in ("bytes", "bytearray") and "size" in rest:
        yield f"{name}({rest['size']} bytes)"
    elif name == "tuple" and is_list(rest.get("items")):
        yield from _listed("(", rest["items"], ")", levels)
    elif rest.keys() in ({"value"}, {"items"}):
        yield f"{name}("
        yield from _pieces(next(iter(rest.values())), levels - 1)
        yield ")"
    else:
        pairs = ((f"{key}=", part) for key, part in rest.items())
        yield from _joined(f"{name}(", pairs, ")", levels)


def _listed(opening: str, parts: list[UserValue], closing: str, levels: int) -> Iterator[str]:
    yield from _joined(opening, (("", part) for part in parts), closing, levels)


def _joined(
    opening: str, parts: Iterator[tuple[str, UserValue]], closing: str, levels: int
) -> Iterator[str]:
    yield opening
    for number, (label, part) in enumerate(parts):
        yield f", {label}" if number else label
        yield from _pieces(part, levels - 1)
    yield closing
