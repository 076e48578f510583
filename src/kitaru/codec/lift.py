"""Trees to values, without running code of the user's.

Trees fresh from MessagePack belong to the walk, so lists and dicts are lifted in place. What a tree names
must be of the kind that its tag says; nothing in a tree can make the walk call something of its choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from kitaru.codec.naming import load_named
from kitaru.codec.tree import PLAIN, TAG, Tree, Unreadable, UserValue, is_list, is_map


@dataclass(frozen=True, slots=True)
class Lifter:
    """How trees of one tag are lifted.

    Attributes:
        make: Returns the value; without its parts if there is a `fill`.
        fill: Gives the value its parts, which may refer to the value.
    """

    make: Callable[[Lifting, dict[Any, Tree]], UserValue]
    fill: Callable[[Lifting, dict[Any, Tree], Any], None] | None = None


LIFTERS: dict[str, Lifter] = {}


class Lifting:
    """One walk over a tree that turns it into a value."""

    def __init__(self, *, allow_pickle: bool) -> None:
        self.allow_pickle = allow_pickle
        self._defined: dict[int, UserValue] = {}
        self._named: dict[str, Any] = {}

    def lift(self, tree: Tree) -> UserValue:
        """Return the value of a tree, which is used up.

        Raises:
            Unreadable: The tree does not describe a value that can be rebuilt here. Corrupted
                trees may raise anything else.
        """
        kind: Any = type(tree)  # pyright: ignore[reportUnknownVariableType] - of anything
        if kind is dict:
            tag = tree.get(TAG)
            if tag is None:
                self.fill_dict(tree)
                return tree
            lifter = LIFTERS.get(tag)
            if lifter is None:
                return self._lift_reference(tag, tree)
            value = lifter.make(self, tree)
            if lifter.fill is not None:
                lifter.fill(self, tree, value)
            return value
        if kind is list:
            self.fill_list(tree)
            return tree
        if kind in PLAIN:
            return tree
        message = f"a {kind.__name__} is no part of the format"
        raise Unreadable(message)

    def fill_dict(self, tree: dict[Any, Tree]) -> None:
        """Lift a plain dict's values in place."""
        for key, part in tree.items():
            if type(part) is dict or type(part) is list:
                tree[key] = self.lift(part)

    def fill_list(self, tree: list[Tree]) -> None:
        """Lift a list's items in place."""
        for index, part in enumerate(tree):
            if type(part) is dict or type(part) is list:
                tree[index] = self.lift(part)

    def items(self, tree: Tree) -> list[UserValue]:
        """Lift a list that must be one."""
        if not is_list(tree):
            message = "a list is missing"
            raise Unreadable(message)
        self.fill_list(tree)
        return tree

    def pairs(self, tree: Tree) -> list[tuple[UserValue, UserValue]]:
        """Lift keys and values that stand in turn."""
        flat = iter(self.items(tree))
        return list(zip(flat, flat, strict=True))

    def _lift_reference(self, tag: Tree, tree: dict[Any, Tree]) -> UserValue:
        if tag == "ref":
            if tree[1] not in self._defined:
                message = f"part {tree[1]!r} is referred to but not defined"
                raise Unreadable(message)
            return self._defined[tree[1]]
        if tag == "then":
            self.lift(tree[1])
            return self.lift(tree[2])
        if tag == "def":
            return self._define(tree[1], tree[2])
        message = f"unknown tag {tag!r}; was this written by a later version of Kitaru?"
        raise Unreadable(message)

    def _define(self, number: int, tree: Tree) -> UserValue:
        lifter = None
        if is_list(tree):
            self._defined[number] = tree
        elif is_map(tree) and TAG in tree:
            lifter = LIFTERS.get(tree[TAG])
        else:
            self._defined[number] = tree
        if lifter is None or lifter.fill is None:
            value = self.lift(tree)
            self._defined[number] = value
            return value
        node = cast("dict[Any, Tree]", tree)  # because it has a lifter
        value = self._defined[number] = lifter.make(self, node)
        lifter.fill(self, node, value)
        return value

    def named(self, name: Tree) -> Any:
        """Return the class or function of that name."""
        found = self._named.get(name)
        if found is None:
            found = self._named[name] = load_named(name)
        return found

    def named_class(self, name: Tree, base: type = object) -> Any:
        """Return the class of that name, which must derive from `base`."""
        found = self.named(name)
        if not isinstance(found, type) or not issubclass(found, base):
            message = f"{name!r} is not a class derived from {base.__name__}"
            raise Unreadable(message)
        return found
