"""Subclasses of built-in types: the built-in part, read past any overridden method, and attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kitaru.codec.kinds import BUILTIN_BASES, checked_class
from kitaru.codec.lift import Lifter, Lifting
from kitaru.codec.lower import Lowering, Strategy
from kitaru.codec.references import class_tree
from kitaru.codec.state import set_state, state_of
from kitaru.codec.tree import TAG, Tree, Unreadable

_MUTABLE_BASES = (bytearray, list, dict, set)
_PLAIN: dict[Any, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
}


def _namedtuple(walk: Lowering, value: object) -> Tree:
    cls: Any = type(value)
    tree: dict[Any, Tree] = {
        TAG: "namedtuple",
        1: class_tree(walk, cls),
        2: list(cls._fields),
        3: _payload(walk, tuple, value),
    }
    state = state_of(value)
    if state:
        tree[4] = walk.mapping(state)
    return tree


def _subclass(walk: Lowering, value: object) -> Tree:
    cls: type[Any] = type(value)
    base = next(base for base in BUILTIN_BASES if issubclass(cls, base))
    return {
        TAG: "subclass",
        1: class_tree(walk, cls),
        2: base.__name__,
        3: _payload(walk, base, value),
        4: walk.mapping(state_of(value)),
    }


def _payload(walk: Lowering, base: Any, value: Any) -> Tree:
    """Return what the built-in part of a value holds."""
    name: str = base.__name__
    if name == "dict":
        return walk.items([part for pair in base.items(value) for part in pair])
    if name in ("list", "tuple"):
        return walk.items(base.__iter__(value))
    if name in ("set", "frozenset"):
        return walk.set_items(base.__iter__(value))
    if name == "complex":
        return [value.real, value.imag]
    if name in ("bytes", "bytearray"):
        return bytes(base.__getitem__(value, slice(None)))
    return walk.lower(_PLAIN[base](value))


def _lift_namedtuple(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    cls = checked_class(walk, tree, "namedtuple")
    if list(cls._fields) != tree[2]:
        message = f"the fields of {cls.__qualname__!r} are no longer {tree[2]!r}"
        raise Unreadable(message)
    maker: Any = tuple
    value = maker.__new__(cls, walk.items(tree[3]))
    if 4 in tree:
        set_state(value, walk.lift(tree[4]))
    return value


def _make_subclass(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    cls = checked_class(walk, tree, "subclass")
    base = next(base for base in BUILTIN_BASES if base.__name__ == tree[2])
    if not issubclass(cls, base):
        message = f"class {cls.__qualname__!r} no longer derives from {tree[2]}"
        raise Unreadable(message)
    if base in _MUTABLE_BASES:
        return base.__new__(cls)
    payload = walk.lift(tree[3])
    if base is complex:
        return complex.__new__(cls, *payload)
    return base.__new__(cls, payload)


def _fill_subclass(walk: Lifting, tree: dict[Any, Tree], value: Any) -> None:
    name = tree[2]
    base = next(base for base in BUILTIN_BASES if base.__name__ == name)
    if name == "dict":
        for key, part in walk.pairs(tree[3]):
            base.__setitem__(value, key, part)
    elif name == "set":
        base.update(value, walk.items(tree[3]))
    elif name == "list":
        base.extend(value, walk.items(tree[3]))
    elif name == "bytearray":
        base.extend(value, tree[3])
    set_state(value, walk.lift(tree[4]))


LOWERED: dict[str, Strategy] = {
    "namedtuple": Strategy(_namedtuple, late=True),
    "subclass": Strategy(_subclass),
    "late_subclass": Strategy(_subclass, late=True),
}
LIFTED: dict[str, Lifter] = {
    "namedtuple": Lifter(_lift_namedtuple),
    "subclass": Lifter(_make_subclass, _fill_subclass),
}
