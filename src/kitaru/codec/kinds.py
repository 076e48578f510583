"""Of what kind a class's instances are.

Asked by both directions, so that a tag in stored bytes can never turn a class into something that
encoding would not have made of it.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from kitaru.codec import arrays, frames
from kitaru.codec.lift import Lifting
from kitaru.codec.references import lift_class
from kitaru.codec.state import is_rebuilt_like
from kitaru.codec.tree import Tree, Unreadable

BUILTIN_BASES: tuple[Any, ...] = (
    str,
    int,
    float,
    complex,
    bytes,
    bytearray,
    list,
    tuple,
    dict,
    set,
    frozenset,
)

_kinds: WeakKeyDictionary[type[Any], str] = WeakKeyDictionary()


def kind_of(cls: type[Any]) -> str:
    """Return the kind of a class's instances, which is the tag of their trees."""
    kind = _kinds.get(cls)
    if kind is None:
        kind = _kinds[cls] = _find_kind(cls)
    return kind


def _find_kind(cls: type[Any]) -> str:  # noqa: C901 - one question after the other
    if issubclass(cls, type):
        return "class"
    if issubclass(cls, enum.Enum):
        return "enum"
    if cls.__module__ == "zoneinfo" and cls.__qualname__ == "ZoneInfo":
        return "zone"
    library = arrays.kind_of(cls) or frames.kind_of(cls)
    if library is not None:
        return library
    if issubclass(cls, BaseException):
        return "exception"
    if issubclass(cls, msgspec.Struct):
        return "struct" if _is_simple_struct(cls) else "pickle"
    for base in BUILTIN_BASES:
        if issubclass(cls, base):
            if not is_rebuilt_like(cls, base):
                return "pickle"
            return "namedtuple" if base is tuple and hasattr(cls, "_fields") else "subclass"
    if not is_rebuilt_like(cls, object):
        return "pickle"
    if dataclasses.is_dataclass(cls):
        return "dataclass"
    pydantic = sys.modules.get("pydantic.main")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return "model"
    if "__attrs_attrs__" in dir(cls):
        # attrs keeps the hash of such instances, and hashes differ between processes.
        return "pickle" if "_attrs_cached_hash" in dir(cls) else "attrs"
    return "object"


def _is_simple_struct(cls: type[Any]) -> bool:
    has_hook = hasattr(cls, "__post_init__") or hasattr(cls, "__del__")
    return not has_hook and cls.__reduce__ is msgspec.Struct.__reduce__


def checked_class(walk: Lifting, tree: dict[Any, Tree], kind: str) -> Any:
    """Return the class that a tree names, which must still be of the kind that the tree says."""
    cls = lift_class(walk, tree[1])
    if kind_of(cls) != kind:
        message = f"class {cls.__qualname__!r} is no {kind} any more"
        raise Unreadable(message)
    return cls
