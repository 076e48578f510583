"""Instances of users' classes, and the tables of everything that the codec can keep."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from kitaru.codec import (
    arrays,
    atoms,
    containers,
    exceptions,
    frames,
    references,
    registry,
    subclasses,
)
from kitaru.codec.kinds import checked_class, kind_of
from kitaru.codec.lift import LIFTERS, Lifter, Lifting
from kitaru.codec.lower import ATOMS, STRATEGIES, Lowering, Strategy
from kitaru.codec.pickling import lift_pickle
from kitaru.codec.references import class_tree, lower_class
from kitaru.codec.state import set_state, state_of
from kitaru.codec.tree import TAG, Tree, Unreadable, UserValue


def resolve(walk: Lowering, value: object) -> Strategy:
    """Return the strategy for a value whose type is not built in."""
    cls: type[Any] = type(value)
    custom = registry.strategy_for(cls)
    if custom is not None:
        return custom
    kind = kind_of(cls)
    if kind == "subclass" and issubclass(cls, tuple | frozenset):
        return _BY_KIND["late_subclass"]
    return _BY_KIND[kind]


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


def _struct(walk: Lowering, value: msgspec.Struct) -> Tree:
    cls = type(value)
    state = {name: getattr(value, name) for name in value.__struct_fields__}
    return {TAG: "struct", 1: class_tree(walk, cls), 2: walk.mapping(state)}


def _enum(walk: Lowering, value: enum.Enum) -> Tree:
    cls: type[Any] = type(value)
    name: Any = value._name_
    if cls.__members__.get(name) is value:
        return {TAG: "enum", 1: class_tree(walk, cls), 2: name}
    return {TAG: "enum", 1: class_tree(walk, cls), 2: name, 3: walk.lower(value._value_)}


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
    **subclasses.LOWERED,
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


def _make_object(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    return object.__new__(checked_class(walk, tree, tree[TAG]))


def _fill_object(walk: Lifting, tree: dict[Any, Tree], value: Any) -> None:
    set_state(value, walk.lift(tree[2]))


def _lift_struct(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    # Calls no code of the user's: the constructor is msgspec's, and the kind rules out a hook.
    return checked_class(walk, tree, "struct")(**walk.lift(tree[2]))


def _lift_enum(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    cls = checked_class(walk, tree, "enum")
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
        missing: Any = enum.Flag._missing_
        member = missing.__func__(cls, value)
    if member is None:
        message = f"enum {cls.__qualname__!r} has no member for {value!r}"
        raise Unreadable(message)
    return member


_LIFTED: dict[str, Lifter] = {
    "zone": Lifter(_lift_zone),
    "enum": Lifter(_lift_enum),
    "struct": Lifter(_lift_struct),
    **{
        kind: Lifter(_make_object, _fill_object)
        for kind in ("dataclass", "model", "attrs", "object")
    },
    "pickle": Lifter(lambda walk, tree: lift_pickle(tree, allowed=walk.allow_pickle)),
}

ATOMS.update(atoms.LOWERED)
STRATEGIES.update({**containers.LOWERED, **references.LOWERED})
for _part in (atoms, containers, references, arrays, frames, exceptions, subclasses, registry):
    LIFTERS.update(_part.LIFTED)
LIFTERS.update(_LIFTED)
