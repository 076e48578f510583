"""Which part of a value it is that cannot be kept.

Looked for only after encoding has failed, so that the walk itself need not carry paths along. Pickle's
error messages are of no help: they name a type, not a place.
"""

from __future__ import annotations

import functools
import json
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from kitaru.codec.state import state_of
from kitaru.codec.tree import Refused, UserValue, type_name
from kitaru.errors import KitaruSerializationError

_MOST_PARTS = 100_000  # about a second's worth of looking
_LONGEST_KEY = 60


def refusal(
    value: UserValue,
    refused: Refused,
    root: str,
    *,
    check: Callable[[UserValue], object],
    advice: Callable[[str], str] | None = None,
) -> KitaruSerializationError:
    """Return the error that names the smallest part that cannot be kept.

    Args:
        refused: Why the value as a whole could not be kept.
        check: Raises `Refused` for parts that cannot be kept.
        advice: Turns the path into what to do about it.
    """
    path, culprit, reason = _smallest_part(value, refused, root, check)
    advise = advice or _advice
    message = f"`{path}` (`{type_name(type(culprit))}`) {reason}. {advise(path)}"
    return KitaruSerializationError(message, path=path)


def _advice(path: str) -> str:
    return (
        "Return plain data instead of live objects, for example an id or a path from which the"
        " flow can make the object anew."
    )


def _smallest_part(
    value: object, refused: Refused, root: str, check: Callable[[UserValue], object]
) -> tuple[str, object, str]:
    """Search breadth first among the parts that fail for one none of whose own parts fails."""
    pending: deque[tuple[str, object, str]] = deque([(root, value, refused.reason)])
    seen = {id(value): value}
    failing: dict[int, str | None] = {}
    for _ in range(_MOST_PARTS):
        if not pending:
            break
        path, part, reason = pending.popleft()
        has_failing_part = False
        for label, child in _parts(part):
            child_reason = _reason(child, check, failing)
            if child_reason is None:
                continue
            has_failing_part = True
            if id(child) not in seen:
                seen[id(child)] = child
                pending.append((path + label, child, child_reason))
        if not has_failing_part:
            return path, part, reason
    # Parts that fail only together, such as those of a cycle.
    return root, value, refused.reason


def _reason(
    part: UserValue, check: Callable[[UserValue], object], failing: dict[int, str | None]
) -> str | None:
    if type(part) in (str, int, float, bool, bytes, types.NoneType):
        return None
    if id(part) not in failing:
        try:
            check(part)
        except Refused as refused:
            failing[id(part)] = refused.reason
        except RecursionError:
            failing[id(part)] = "is nested too deeply"
        else:
            failing[id(part)] = None
    return failing[id(part)]


def _parts(value: object) -> Iterator[tuple[str, UserValue]]:
    """Yield the parts of a value with what to append to its path."""
    for kind, parts in _PARTS:
        if isinstance(value, kind):
            yield from parts(value)
            break
    if type(value).__module__ != "builtins" and not isinstance(value, type | types.ModuleType):
        for name, part in state_of(value).items():
            yield f".{name}", part


def _mapping_parts(value: Mapping[Any, UserValue]) -> Iterator[tuple[str, UserValue]]:
    for key, part in value.items():
        yield f"[{_key(key)}]", part
    for key in value:
        yield f".<key {_key(key)}>", key


def _sequence_parts(value: Sequence[UserValue]) -> Iterator[tuple[str, UserValue]]:
    names: Sequence[str] | None = getattr(value, "_fields", None)
    for index, part in enumerate(value):
        yield (f".{names[index]}" if names else f"[{index}]"), part


def _set_parts(value: Set[UserValue]) -> Iterator[tuple[str, UserValue]]:
    for part in value:
        yield ".<element>", part


def _exception_parts(value: BaseException) -> Iterator[tuple[str, UserValue]]:
    yield ".args", value.args
    yield ".__cause__", value.__cause__
    yield ".__context__", value.__context__


def _partial_parts(value: functools.partial[Any]) -> Iterator[tuple[str, UserValue]]:
    yield ".func", value.func
    yield ".args", value.args
    yield ".keywords", value.keywords


def _method_parts(value: types.MethodType) -> Iterator[tuple[str, UserValue]]:
    yield ".__self__", value.__self__


def _captured(function: types.FunctionType) -> Iterator[tuple[str, UserValue]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f".<variable {name}>", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f".<global {name}>", function.__globals__[name]


_PARTS: tuple[tuple[Any, Callable[[Any], Iterator[tuple[str, UserValue]]]], ...] = (
    (Mapping, _mapping_parts),
    ((list, tuple, deque), _sequence_parts),
    ((set, frozenset), _set_parts),
    (BaseException, _exception_parts),
    (functools.partial, _partial_parts),
    (types.MethodType, _method_parts),
    (types.FunctionType, _captured),
)


def _key(key: Any) -> str:
    text = json.dumps(key, ensure_ascii=False) if type(key) is str else repr(key)
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…"
