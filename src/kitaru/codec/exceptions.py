"""Exceptions: rebuilt from what they hold, never by calling their class.

Calling the class with `args`, as pickle does, fails for every class whose parameters differ from its
arguments to `super().__init__`. Tracebacks belong to a process and are not kept.
"""

from __future__ import annotations

from typing import Any, cast
from weakref import WeakKeyDictionary

from kitaru.codec.lift import Lifter, Lifting
from kitaru.codec.lower import Lowering
from kitaru.codec.references import lift_class
from kitaru.codec.state import maker_of, set_state, slots_of, state_of
from kitaru.codec.tree import TAG, Refused, Tree, Unreadable, type_name

_blank: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def can_be_blank(cls: type[BaseException]) -> bool:
    """Whether a bare instance of the class can be made."""
    known = _blank.get(cls)
    if known is None:
        try:
            _make_blank(cls, "", [ValueError()])
        except TypeError:
            known = False
        else:
            known = not hasattr(cls, "__del__")
        _blank[cls] = known
    return known


def _make_blank(
    cls: type[BaseException], message: str, members: list[BaseException]
) -> BaseException:
    maker: Any = maker_of(cls)
    if issubclass(cls, BaseExceptionGroup):
        return maker.__new__(cls, message, members)
    # Without arguments: with some, OSError would choose another class than the recorded one.
    return maker.__new__(cls)


def lower_exception(walk: Lowering, value: BaseException) -> Tree:
    """Lower an exception with its attributes, notes, causes and members."""
    if not can_be_blank(type(value)):
        try:
            return walk.pickle(value)
        except Refused:
            if not walk.lenient:
                raise
    tree: dict[Any, Tree] = {TAG: "exception", 1: _class_tree(walk, value)}
    members = _members(value)
    if members is not None:
        # Before the arguments, which hold the members again: a group is made from its members.
        tree[7] = walk.items(members)
    tree[2] = [_keep(walk, part) for part in value.args]
    tree[3] = walk.mapping(_state(walk, value))
    if value.__cause__ is not None:
        tree[4] = walk.lower(value.__cause__)
    if value.__context__ is not None:
        tree[5] = walk.lower(value.__context__)
    if value.__suppress_context__:
        tree[6] = True
    return tree


def _members(value: BaseException) -> tuple[str, tuple[BaseException, ...]] | None:
    if not isinstance(value, BaseExceptionGroup):
        return None
    return value.message, cast("BaseExceptionGroup[BaseException]", value).exceptions


def _class_tree(walk: Lowering, value: BaseException) -> Tree:
    cls: type[Any] = type(value)
    name = walk.name_of(cls)
    if name is not None:
        return name
    try:
        return walk.lower(cls)
    except Refused:
        if not walk.lenient:
            raise
        return f"{cls.__module__}:{cls.__qualname__}"


def _state(walk: Lowering, value: object) -> dict[str, Any]:
    cls: type[Any] = value.__class__
    left_out = {"__suppress_context__"}
    bases = cls.__mro__
    if BaseExceptionGroup in bases:
        left_out |= {"message", "exceptions"}
    elif AttributeError in bases:
        left_out.add("obj")  # the object that merely lacked the name, however large it is
    slots = slots_of(cls)
    state: dict[str, Any] = {}
    for name, part in state_of(value).items():
        if name in left_out:
            continue
        # An unset member of a built-in class reads as None, but prints differently once it is set.
        if part is None and name in slots and slots[name].__objclass__.__module__ == "builtins":
            continue
        if _can_keep(walk, part):
            state[name] = part
    return state


def _keep(walk: Lowering, part: object) -> Tree:
    if _can_keep(walk, part):
        return walk.lower(part)
    return f"<{type_name(type(part))} that could not be kept>"


def _can_keep(walk: Lowering, part: object) -> bool:
    if not walk.lenient or type(part) in walk.plain:
        return True
    if id(part) in walk.left_out:
        return False
    try:
        walk.trial().lower(part)
    except Refused:
        walk.left_out[id(part)] = part
        return False
    return True


def _make(walk: Lifting, tree: dict[Any, Tree]) -> BaseException:
    cls = lift_class(walk, tree[1], BaseException)
    if not can_be_blank(cls):
        message = f"class {cls.__qualname__!r} cannot be rebuilt from its attributes"
        raise Unreadable(message)
    if 7 in tree:
        message, members = walk.items(tree[7])
        return _make_blank(cls, message, list(members))
    return _make_blank(cls, "", [])


def _fill(walk: Lifting, tree: dict[Any, Tree], value: BaseException) -> None:
    value.args = tuple(walk.items(tree[2]))
    set_state(value, walk.lift(tree[3]))
    value.__cause__ = _lift_other(walk, tree.get(4))
    value.__context__ = _lift_other(walk, tree.get(5))
    value.__suppress_context__ = tree.get(6, False)


def _lift_other(walk: Lifting, tree: Tree) -> BaseException | None:
    try:
        found = walk.lift(tree)
    except Unreadable:
        # The exception itself matters more than the one it was raised from.
        return None
    if found is not None and not isinstance(found, BaseException):
        message = "the cause of an exception is not an exception"
        raise Unreadable(message)
    return found


LIFTED: dict[str, Lifter] = {"exception": Lifter(_make, _fill)}
