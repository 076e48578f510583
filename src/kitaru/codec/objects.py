"""Instances of users' classes: what kind each class is of, and how each kind is kept.

`kind_of` decides for both directions, so that a tag in stored bytes can never turn a class into
something that encoding would not have made of it.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from kitaru.codec import arrays, atoms, containers, exceptions, frames, references, registry
from kitaru.codec.lift import LIFTERS, Lifter, Lifting
from kitaru.codec.lower import ATOMS, STRATEGIES, Lowering, Strategy
from kitaru.codec.pickling import lift_pickle
from kitaru.codec.references import class_tree, lift_class, lower_class
from kitaru.codec.state import is_rebuilt_like, set_state, state_of
from kitaru.codec.tree import TAG, Tree, Unreadable, UserValue

_BUILTIN_BASES = (str, int, float, complex, bytes, bytearray, list, tuple, dict, set, frozenset)
_MUTABLE_BASES = (bytearray, list, dict, set)

_kinds: WeakKeyDictionary[type, str] = WeakKeyDictionary()


def resolve(walk: Lowering, value: object) -> Strategy:
    """Return the strategy for a value whose type is not built in."""
    cls: type[Any] = type(value)
    custom = registry.strategy_for(cls)
    if custom is not None:
        return custom
    kind = kind_of(cls)
    if kind == "subclass" and issubclass(cls, tuple | frozenset):
        return _LATE_SUBCLASS
    return _BY_KIND[kind]


def kind_of(cls: type) -> str:
    """Return the kind of a class's instances, which is the tag of their trees."""
    kind = _kinds.get(cls)
    if kind is None:
        kind = _kinds[cls] = _find_kind(cls)
    return kind


def _find_kind(cls: type) -> str:  # noqa: C901 - one question after the other
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
    for base in _BUILTIN_BASES:
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


def _is_simple_struct(cls: type) -> bool:
    has_hook = hasattr(cls, "__post_init__") or hasattr(cls, "__del__")
    return not has_hook and cls.__reduce__ is msgspec.Struct.__reduce__


def _pickle(walk: Lowering, value: UserValue) -> Tree:
    return walk.pickle(value)


def _object(walk: Lowering, value: object) -> Tree:
    cls: type[Any] = type(value)
    if kind_of(cls) == "object":
        # Refuses instances of C classes that hold more than attributes: it is what pickle asks.
        try:
            object.__reduce_ex__(value, 4)
        except TypeError:
            return walk.pickle(value)
    return {TAG: kind_of(cls), 1: class_tree(walk, cls), 2: walk.mapping(state_of(value))}


def _struct(walk: Lowering, value: Any) -> Tree:
    cls: type[Any] = type(value)
    state = {name: getattr(value, name) for name in value.__struct_fields__}
    return {TAG: "struct", 1: class_tree(walk, cls), 2: walk.mapping(state)}


def _enum(walk: Lowering, value: enum.Enum) -> Tree:
    cls: type[Any] = type(value)
    name: str | None = value._name_
    if name is not None and cls.__members__.get(name) is value:
        return {TAG: "enum", 1: class_tree(walk, cls), 2: name}
    return {TAG: "enum", 1: class_tree(walk, cls), 2: name, 3: walk.lower(value._value_)}


def _namedtuple(walk: Lowering, value: Any) -> Tree:
    cls: type[Any] = type(value)
    tree = {
        TAG: "namedtuple",
        1: class_tree(walk, cls),
        2: list(cls._fields),
        3: walk.items(tuple.__iter__(value)),
    }
    state = state_of(value)
    if state:
        tree[4] = walk.mapping(state)
    return tree


def _subclass(walk: Lowering, value: Any) -> Tree:
    cls: type[Any] = type(value)
    base = next(base for base in _BUILTIN_BASES if issubclass(cls, base))
    return {
        TAG: "subclass",
        1: class_tree(walk, cls),
        2: base.__name__,
        3: _payload(walk, base, value),
        4: walk.mapping(state_of(value)),
    }


def _payload(walk: Lowering, base: type, value: Any) -> Tree:
    """Return what the built-in part of a value holds, past any overridden method."""
    if base is dict:
        return walk.items([part for pair in dict.items(value) for part in pair])
    if base in (list, tuple):
        return walk.items(base.__iter__(value))  # type: ignore[attr-defined]
    if base in (set, frozenset):
        return walk.set_items(base.__iter__(value))  # type: ignore[attr-defined]
    if base is bytearray:
        return bytes(value)
    if base is complex:
        return [value.real, value.imag]
    if base is str:
        return walk.lower(str.__str__(value))
    if base is int:
        return walk.lower(int.__int__(value))
    if base is float:
        return float.__float__(value)
    return bytes.__getitem__(value, slice(None))


_LATE_SUBCLASS = Strategy(_subclass, late=True)


def _zone(walk: Lowering, value: Any) -> Tree:
    if value.key is None:
        return walk.pickle(value)
    return {TAG: "zone", 1: value.key}


_BY_KIND: dict[str, Strategy] = {
    "class": Strategy(lower_class, late=True),
    "enum": Strategy(_enum, late=True),
    "zone": Strategy(_zone, late=True),
    "exception": Strategy(exceptions.lower_exception),
    "struct": Strategy(_struct, late=True),
    "subclass": Strategy(_subclass),
    "namedtuple": Strategy(_namedtuple, late=True),
    "dataclass": Strategy(_object),
    "model": Strategy(_object),
    "attrs": Strategy(_object),
    "object": Strategy(_object),
    "pickle": Strategy(_pickle, late=True),
    **arrays.LOWERED,
    **frames.LOWERED,
}


def _lift_zone(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    from zoneinfo import ZoneInfo  # rarely needed

    return ZoneInfo(tree[1])


def _checked_class(walk: Lifting, tree: dict[Any, Tree], kind: str) -> Any:
    cls = lift_class(walk, tree[1])
    if kind_of(cls) != kind:
        message = f"class {cls.__qualname__!r} is no {kind} any more"
        raise Unreadable(message)
    return cls


def _make_object(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    return object.__new__(_checked_class(walk, tree, tree[TAG]))


def _fill_object(walk: Lifting, tree: dict[Any, Tree], value: Any) -> None:
    set_state(value, walk.lift(tree[2]))


def _lift_struct(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    # Calls no code of the user's: the constructor is msgspec's, and the kind rules out a hook.
    return _checked_class(walk, tree, "struct")(**walk.lift(tree[2]))


def _lift_enum(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    cls = _checked_class(walk, tree, "enum")
    if 3 not in tree:
        member = cls.__members__.get(tree[2])
        if member is None:
            message = f"enum {cls.__qualname__!r} has no member {tree[2]!r} any more"
            raise Unreadable(message)
        return member
    value = walk.lift(tree[3])
    member = cls._value2member_map_.get(value)
    if member is None and issubclass(cls, enum.Flag):
        # Makes composite members; called past a `_missing_` that the class may define.
        member = enum.Flag._missing_.__func__(cls, value)  # type: ignore[attr-defined]
    if member is None:
        message = f"enum {cls.__qualname__!r} has no member for {value!r}"
        raise Unreadable(message)
    return member


def _lift_namedtuple(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    cls = _checked_class(walk, tree, "namedtuple")
    if list(cls._fields) != tree[2]:
        message = f"the fields of {cls.__qualname__!r} are no longer {tree[2]!r}"
        raise Unreadable(message)
    value = tuple.__new__(cls, walk.items(tree[3]))
    if 4 in tree:
        set_state(value, walk.lift(tree[4]))
    return value


def _make_subclass(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    cls = _checked_class(walk, tree, "subclass")
    base = next(base for base in _BUILTIN_BASES if base.__name__ == tree[2])
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
    if isinstance(value, dict):
        for key, part in walk.pairs(tree[3]):
            dict.__setitem__(value, key, part)
    elif isinstance(value, list):
        list.extend(value, walk.items(tree[3]))
    elif isinstance(value, set):
        set.update(value, walk.items(tree[3]))
    elif isinstance(value, bytearray):
        bytearray.extend(value, tree[3])
    set_state(value, walk.lift(tree[4]))


_LIFTED: dict[str, Lifter] = {
    "zone": Lifter(_lift_zone),
    "enum": Lifter(_lift_enum),
    "struct": Lifter(_lift_struct),
    "namedtuple": Lifter(_lift_namedtuple),
    "subclass": Lifter(_make_subclass, _fill_subclass),
    **{
        kind: Lifter(_make_object, _fill_object)
        for kind in ("dataclass", "model", "attrs", "object")
    },
    "pickle": Lifter(lambda walk, tree: lift_pickle(tree, allowed=walk.allow_pickle)),
}

ATOMS.update(atoms.LOWERED)
STRATEGIES.update({**containers.LOWERED, **references.LOWERED})
for _part in (atoms, containers, references, arrays, frames, exceptions, registry):
    LIFTERS.update(_part.LIFTED)
LIFTERS.update(_LIFTED)
