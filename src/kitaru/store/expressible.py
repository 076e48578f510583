"""Records as they can travel: what UTF-8 cannot express is replaced where a store would do so as well.

An exception's message and a printed line are whatever the user's code made of them, and must never keep a
failure or a line from being recorded. Names are refused: two of them could become the same.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar, cast

from kitaru.model import FailureRecord, LogLine
from kitaru.store.rows import clean

T = TypeVar("T")


def expressible(value: T) -> T:
    """Return a record, or several, with the texts replaced that no store keeps as they are."""
    if isinstance(value, list | tuple):
        items = cast("list[object] | tuple[object, ...]", value)
        return cast("T", type(items)(expressible(item) for item in items))
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    cleans = isinstance(value, FailureRecord | LogLine)
    changed = {
        field.name: _cleaned(found) if cleans else expressible(found)
        for field in dataclasses.fields(value)
        for found in [getattr(value, field.name)]
    }
    return cast("T", dataclasses.replace(value, **changed))


def _cleaned(value: object) -> object:
    # Words of an enumeration are texts, too, and fine as they are.
    if type(value) is str:
        return clean(value)
    if isinstance(value, tuple):
        return tuple(_cleaned(item) for item in cast("tuple[object, ...]", value))
    return value
