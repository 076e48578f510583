"""Values to trees: one walk over a value, by the exact type of every part.

The walk comes in two kinds. `Lowering` writes plain trees and merely notices whether something mutable
is met twice; only then `GraphLowering` walks again and writes `{0: "def"}` where a shared part comes
first and `{0: "ref"}` where it comes again. Most values share nothing and pay for one walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kitaru.codec.naming import find_name
from kitaru.codec.pickling import lower_by_pickle
from kitaru.codec.tree import CAREFUL_PLAIN, PLAIN, TAG, Refused, Tree, UserValue


@dataclass(frozen=True, slots=True)
class Strategy:
    """How values of one type are lowered.

    Attributes:
        lower: Turns a value into a tree.
        late: Whether a value comes into being only after its parts, as a tuple does. A list can
            contain itself; a tuple cannot, except through something that is not late.
    """

    lower: Callable[[Lowering, Any], Tree]
    late: bool = False


ATOMS: dict[type, Callable[[Lowering, Any], Tree]] = {}
STRATEGIES: dict[type, Strategy] = {}


class Lowering:
    """One walk over a value that turns it into a tree.

    Args:
        resolve: Finds the strategy for a value whose type is in none of the tables.
        careful: Look at every int and str; without it MessagePack complains about those that it
            cannot hold, and the walk is repeated carefully.
        lenient: Leave out what cannot be kept of an exception, rather than refusing it.
    """

    def __init__(
        self,
        resolve: Callable[[Lowering, UserValue], Strategy],
        *,
        allow_pickle: bool,
        careful: bool = False,
        lenient: bool = False,
    ) -> None:
        self.resolve = resolve
        self.allow_pickle = allow_pickle
        self.careful = careful
        self.lenient = lenient
        self.plain = CAREFUL_PLAIN if careful else PLAIN
        self.pickled = False
        # Keyed by id, and holding the objects, so that no id is given to another object meanwhile.
        self.seen: dict[int, UserValue] = {}
        self.shared: set[int] = set()
        # What a lenient walk found that cannot be kept; likewise holding the objects.
        self.left_out: dict[int, UserValue] = {}
        self._names: dict[Any, str | None] = {}
        self._held: list[UserValue] = []

    def lower(self, value: object) -> Tree:
        """Return the tree of a value.

        Raises:
            Refused: The value, or a part of it, cannot be kept.
        """
        kind: type[Any] = type(value)
        if kind in self.plain:
            return value
        atom = ATOMS.get(kind)
        if atom is not None:
            return atom(self, value)
        key = id(value)
        if key in self.seen:
            if kind is tuple and not value:  # there is only one of them in a process
                return {TAG: "tuple", 1: []}
            self.shared.add(key)
            return None
        self.seen[key] = value
        strategy = STRATEGIES.get(kind) or self.resolve(self, value)
        return strategy.lower(self, value)

    def items(self, values: Iterable[UserValue]) -> list[Tree]:
        """Return the trees of several values."""
        plain = self.plain
        lower = self.lower
        return [value if type(value) in plain else lower(value) for value in values]

    def mapping(self, values: Mapping[Any, UserValue]) -> Tree:
        """Return the tree of a dict's contents, whatever its keys are."""
        for key in values:
            if type(key) is not str or (self.careful and not is_utf8(key)):
                return {TAG: "dict", 1: self.pairs(values)}
        plain = self.plain
        lower = self.lower
        return {
            key: value if type(value) in plain else lower(value) for key, value in values.items()
        }

    def pairs(self, values: Mapping[Any, UserValue]) -> list[Tree]:
        """Return keys and values in turn."""
        return self.items([part for pair in values.items() for part in pair])

    def set_items(self, values: Iterable[UserValue]) -> list[Tree]:
        """Return the trees of a set's elements."""
        return self.items(values)

    def name_of(self, target: Any) -> str | None:
        """Return the name of a class or function, or None if it cannot be found by name."""
        try:
            return self._names[target]
        except KeyError:
            name = self._names[target] = find_name(target)
            return name

    def pickle(self, value: UserValue) -> Tree:
        """Return the tree that holds a value's pickle.

        Raises:
            Refused: The value cannot be pickled, or pickle is switched off.
        """
        if not self.allow_pickle:
            raise Refused(
                value, "can only be pickled, and pickle is switched off (`KITARU_ALLOW_PICKLE`)"
            )
        self.pickled = True
        return lower_by_pickle(value)

    def hold(self, value: UserValue) -> None:
        """Keep a temporary object alive, so that its id stays taken for the rest of the walk."""
        self._held.append(value)

    def trial(self) -> Lowering:
        """Return a walk to find out whether a part can be kept, with what this one has seen."""
        walk = Lowering(
            self.resolve, allow_pickle=self.allow_pickle, careful=self.careful, lenient=self.lenient
        )
        walk.seen = dict(self.seen)
        walk.left_out = self.left_out
        return walk


class GraphLowering(Lowering):
    """The walk over a value of which some parts are met twice.

    Args:
        first: The walk that noticed.
        number_all: Number everything that is not late, because a late value contains itself.
    """

    def __init__(self, first: Lowering, *, number_all: bool) -> None:
        super().__init__(
            first.resolve,
            allow_pickle=first.allow_pickle,
            careful=first.careful,
            lenient=first.lenient,
        )
        # Keeps every object of the first walk alive, so that its ids stay taken.
        self._first = first
        self.left_out = first.left_out
        self.shared = first.shared
        self._number_all = number_all
        self._numbers: dict[int, int] = {}
        self._open: set[int] = set()
        self._open_late: dict[int, int] = {}
        self.cyclic = False

    def lower(self, value: object) -> Tree:
        kind: type[Any] = type(value)
        if kind in self.plain:
            return value
        atom = ATOMS.get(kind)
        if atom is not None:
            return atom(self, value)
        strategy = STRATEGIES.get(kind) or self.resolve(self, value)
        key = id(value)
        if key not in self.shared and not self._number_all:
            return strategy.lower(self, value)
        number = self._numbers.get(key)
        if number is not None:
            self.cyclic = self.cyclic or key in self._open
            return {TAG: "ref", 1: number}
        self.seen[key] = value
        if strategy.late:
            return self._lower_late(strategy, key, value)
        number = self._number(key)
        self._open.add(key)
        tree = strategy.lower(self, value)
        self._open.discard(key)
        return {TAG: "def", 1: number, 2: tree}

    def _lower_late(self, strategy: Strategy, key: int, value: UserValue) -> Tree:
        if key in self._open_late:
            if not self._number_all:
                raise LateCycle
            if self._open_late[key] == len(self._numbers):
                raise Refused(value, "contains itself, and could not be made before its parts")
        self._open_late[key] = len(self._numbers)
        tree = strategy.lower(self, value)
        self._open_late.pop(key, None)
        inner = self._numbers.get(key)
        if inner is not None:
            # It contains itself through something numbered, which has defined it in the meantime.
            return {TAG: "then", 1: tree, 2: {TAG: "ref", 1: inner}}
        return {TAG: "def", 1: self._number(key), 2: tree}

    def _number(self, key: int) -> int:
        number = self._numbers[key] = len(self._numbers) + 1
        return number


class LateCycle(Exception):  # noqa: N818 - restarts the walk, never leaves the codec
    """A tuple or the like contains itself."""


def is_utf8(text: str) -> bool:
    """Whether the text can be written as UTF-8, which lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
