"""Containers of the standard library."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from kitaru.codec.lift import Lifter, Lifting
from kitaru.codec.lower import Lowering, Strategy
from kitaru.codec.tree import TAG, Tree, UserValue


def _list(walk: Lowering, value: list[UserValue]) -> Tree:
    return walk.items(value)


def _dict(walk: Lowering, value: dict[Any, UserValue]) -> Tree:
    return walk.mapping(value)


def _tuple(walk: Lowering, value: tuple[UserValue, ...]) -> Tree:
    return {TAG: "tuple", 1: walk.items(value)}


def _set(walk: Lowering, value: set[UserValue]) -> Tree:
    return {TAG: "set", 1: walk.set_items(value)}


def _frozenset(walk: Lowering, value: frozenset[UserValue]) -> Tree:
    return {TAG: "frozenset", 1: walk.set_items(value)}


def _bytearray(walk: Lowering, value: bytearray) -> Tree:
    return {TAG: "bytearray", 1: bytes(value)}


def _ordered_dict(walk: Lowering, value: OrderedDict[Any, UserValue]) -> Tree:
    return {TAG: "ordered_dict", 1: walk.pairs(value)}


def _counter(walk: Lowering, value: Counter[Any]) -> Tree:
    return {TAG: "counter", 1: walk.pairs(value)}


def _default_dict(walk: Lowering, value: defaultdict[Any, UserValue]) -> Tree:
    return {TAG: "default_dict", 1: walk.pairs(value), 2: walk.lower(value.default_factory)}


def _deque(walk: Lowering, value: deque[UserValue]) -> Tree:
    return {TAG: "deque", 1: walk.items(value), 2: value.maxlen}


def _slice(walk: Lowering, value: slice) -> Tree:
    return {TAG: "slice", 1: walk.items((value.start, value.stop, value.step))}


LOWERED: dict[type, Strategy] = {
    list: Strategy(_list),
    dict: Strategy(_dict),
    tuple: Strategy(_tuple, late=True),
    set: Strategy(_set),
    frozenset: Strategy(_frozenset, late=True),
    bytearray: Strategy(_bytearray),
    OrderedDict: Strategy(_ordered_dict),
    Counter: Strategy(_counter),
    defaultdict: Strategy(_default_dict),
    deque: Strategy(_deque),
    slice: Strategy(_slice, late=True),
}


def _make(cls: Callable[[], UserValue]) -> Callable[[Lifting, dict[Any, Tree]], UserValue]:
    def make(walk: Lifting, tree: dict[Any, Tree]) -> UserValue:
        return cls()

    return make


def _make_deque(walk: Lifting, tree: dict[Any, Tree]) -> deque[UserValue]:
    return deque(maxlen=tree[2])


def _fill_pairs(walk: Lifting, tree: dict[Any, Tree], value: dict[Any, UserValue]) -> None:
    # Not by `update`, which a Counter understands as counting.
    for key, part in walk.pairs(tree[1]):
        value[key] = part  # noqa: PERF403 - the dict exists already, for others to refer to


def _fill_ordered_dict(
    walk: Lifting, tree: dict[Any, Tree], value: OrderedDict[Any, UserValue]
) -> None:
    # By its own method, since it keeps an order of its own.
    value.update(walk.pairs(tree[1]))


def _fill_default_dict(
    walk: Lifting, tree: dict[Any, Tree], value: defaultdict[Any, UserValue]
) -> None:
    value.default_factory = walk.lift(tree[2])
    _fill_pairs(walk, tree, value)


def _fill_set(walk: Lifting, tree: dict[Any, Tree], value: set[UserValue]) -> None:
    value.update(walk.items(tree[1]))


def _fill_deque(walk: Lifting, tree: dict[Any, Tree], value: deque[UserValue]) -> None:
    value.extend(walk.items(tree[1]))


LIFTED: dict[str, Lifter] = {
    "dict": Lifter(_make(dict), _fill_pairs),
    "tuple": Lifter(lambda walk, tree: tuple(walk.items(tree[1]))),
    "set": Lifter(_make(set), _fill_set),
    "frozenset": Lifter(lambda walk, tree: frozenset(walk.items(tree[1]))),
    "bytearray": Lifter(lambda _, tree: bytearray(memoryview(tree[1]))),
    "ordered_dict": Lifter(_make(OrderedDict), _fill_ordered_dict),
    "counter": Lifter(_make(Counter), _fill_pairs),
    "default_dict": Lifter(_make(defaultdict), _fill_default_dict),
    "deque": Lifter(_make_deque, _fill_deque),
    "slice": Lifter(lambda walk, tree: slice(*walk.items(tree[1]))),
}
