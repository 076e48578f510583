"""Classes, functions and type expressions as values, and the classes of other values."""

from __future__ import annotations

import types
import typing
from typing import Any

from kitaru.codec.lift import Lifter, Lifting
from kitaru.codec.lower import Lowering, Strategy
from kitaru.codec.tree import TAG, Refused, Tree, Unreadable, type_name

_ALIASES: dict[str, Any] = {
    "builtin": types.GenericAlias,
    "typing": type(typing.Generic[typing.TypeVar("T")]),
    "literal": type(typing.Literal[1]),
}
_UNION_TYPE: type = type(typing.Optional[int])  # noqa: UP045 - differs from the type of `int | None`


def class_tree(walk: Lowering, cls: type) -> Tree:
    """Return how a class is written inside another value's tree.

    A name if it has one, else the tree of the class itself.
    """
    return walk.name_of(cls) or walk.lower(cls)


def lift_class(walk: Lifting, tree: Tree, base: type = object) -> Any:
    """Return the class that `class_tree` wrote, which must derive from `base`."""
    if type(tree) is str:
        return walk.named_class(tree, base)
    found = walk.lift(tree)
    if not isinstance(found, type) or not issubclass(found, base):
        message = f"a class derived from {base.__name__} is missing"
        raise Unreadable(message)
    return found


def lower_class(walk: Lowering, value: type) -> Tree:
    """Lower a class: by name, as a parametrised pydantic model, or by pickle."""
    name = walk.name_of(value)
    if name is not None:
        return {TAG: "class", 1: name}
    generic = _generic_model(walk, value)
    if generic is not None:
        return generic
    if not walk.allow_pickle:
        raise Refused(
            value,
            f"needs the class `{type_name(value)}`, which no other process can find by that name,"
            f" and pickle is switched off (`KITARU_ALLOW_PICKLE`); define it at the top of its module",
        )
    return walk.pickle(value)


def _generic_model(walk: Lowering, value: type) -> Tree | None:
    parameters = vars(value).get("__pydantic_generic_metadata__")
    if not parameters or not parameters["args"]:
        return None
    return {
        TAG: "generic_model",
        1: class_tree(walk, parameters["origin"]),
        2: walk.items(parameters["args"]),
    }


def _lift_generic_model(walk: Lifting, tree: dict[Any, Tree]) -> type:
    from pydantic import BaseModel  # only where a model is decoded

    origin = lift_class(walk, tree[1], BaseModel)
    # Pydantic's own, past an override in the class.
    getter: Any = BaseModel.__class_getitem__
    return getter.__func__(origin, tuple(walk.items(tree[2])))


def _function(walk: Lowering, value: Any) -> Tree:
    name = walk.name_of(value)
    if name is None:
        return walk.pickle(value)
    return {TAG: "function", 1: name}


def _lift_function(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    found = walk.named(tree[1])
    if not isinstance(found, types.FunctionType | types.BuiltinFunctionType):
        message = f"{tree[1]!r} is not a function"
        raise Unreadable(message)
    return found


def _alias(kind: str) -> Strategy:
    def lower(walk: Lowering, value: Any) -> Tree:
        origin, arguments = typing.get_origin(value), typing.get_args(value)
        if not _is_same(value, lambda: _make_alias(kind, origin, arguments)):
            return walk.pickle(value)
        tree = None if kind == "literal" else class_tree(walk, origin)
        return {TAG: "alias", 1: kind, 2: tree, 3: walk.items(arguments)}

    return Strategy(lower, late=True)


def _is_same(value: Any, rebuild: Any) -> bool:
    try:
        rebuilt = rebuild()
        # `repr` tells List[int] from list[int] and the order of a union's members.
        return type(rebuilt) is type(value) and rebuilt == value and repr(rebuilt) == repr(value)
    except (TypeError, AttributeError):
        return False


def _make_alias(kind: str, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if kind == "builtin":
        return types.GenericAlias(origin, arguments)
    if kind == "literal":
        return typing.Literal[arguments]
    generic: Any = typing.Generic
    if not issubclass(origin, generic):
        message = "only user-defined generic classes are rebuilt"
        raise TypeError(message)
    return generic.__class_getitem__.__func__(origin, arguments)


def _lift_alias(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    origin = None if tree[1] == "literal" else lift_class(walk, tree[2])
    return _make_alias(tree[1], origin, tuple(walk.items(tree[3])))


def _union(walk: Lowering, value: Any) -> Tree:
    return {TAG: "union", 1: "|", 2: walk.items(typing.get_args(value))}


def _typing_union(walk: Lowering, value: Any) -> Tree:
    if typing.get_origin(value) is not typing.Union:
        return walk.pickle(value)
    return {TAG: "union", 1: "Union", 2: walk.items(typing.get_args(value))}


def _lift_union(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    union, *members = walk.items(tree[2])
    if tree[1] == "Union":
        return typing.Union[(union, *members)]
    for member in members:
        union = union | member
    return union


LOWERED: dict[Any, Strategy] = {
    type: Strategy(lower_class, late=True),
    types.FunctionType: Strategy(_function, late=True),
    types.BuiltinFunctionType: Strategy(_function, late=True),
    types.UnionType: Strategy(_union, late=True),
    _UNION_TYPE: Strategy(_typing_union, late=True),
}
LOWERED.update({kind: _alias(name) for name, kind in _ALIASES.items()})
LIFTED: dict[str, Lifter] = {
    "class": Lifter(lambda walk, tree: walk.named_class(tree[1])),
    "generic_model": Lifter(_lift_generic_model),
    "function": Lifter(_lift_function),
    "alias": Lifter(_lift_alias),
    "union": Lifter(_lift_union),
}
