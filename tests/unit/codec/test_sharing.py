from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import pytest

from kitaru import codec
from kitaru.errors import KitaruSerializationError
from tests.unit.codec.exactness import assert_round_trip


@dataclass
class Node:
    name: str
    links: list[Any] = field(default_factory=list)
    up: Any = None

    __hash__ = object.__hash__


@dataclass(frozen=True)
class Hashed:
    content: Any


class Pair(NamedTuple):
    left: Any
    right: Any


class Tagged(tuple[Any, ...]):
    pass


class Knot(msgspec.Struct):
    other: Any = None


@pytest.mark.parametrize(
    "shared",
    [
        [1],
        {"a": 1},
        {1: 2},
        {1},
        bytearray(b"x"),
        deque([1]),
        OrderedDict(a=1),
        defaultdict(int),
        Node("a"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_part_met_twice_is_decoded_once(shared: object) -> None:
    first, (second,), third = codec.decode(codec.encode([shared, (shared,), {"k": shared}]))

    assert first is second
    assert first is third["k"]
    assert_round_trip([shared, {"again": shared}])


def test_equal_parts_that_are_not_shared_stay_apart() -> None:
    first, second = codec.decode(codec.encode([[1], [1]]))

    assert first is not second


def test_list_that_contains_itself_survives() -> None:
    value: list[Any] = [1]
    value.append(value)

    decoded = codec.decode(codec.encode(value))

    assert decoded[1] is decoded


def test_cycle_through_dict_object_and_deque_survives() -> None:
    node = Node("root")
    node.up = {"node": node, 5: deque([node])}

    decoded = codec.decode(codec.encode(node))

    assert decoded.up["node"] is decoded
    assert decoded.up[5][0] is decoded


@pytest.mark.parametrize(
    "late", [tuple, lambda parts: Pair(parts[0], 1), Tagged, lambda parts: Knot(*parts)]
)
def test_cycle_through_a_late_value_survives(late: Any) -> None:
    inner: list[Any] = []
    value = late([inner])
    inner.append(value)

    decoded = codec.decode(codec.encode(value))

    content = decoded.other if isinstance(decoded, Knot) else decoded[0]
    assert content[0] is decoded


def test_cycle_through_two_lists_and_a_tuple_survives() -> None:
    one: list[Any] = []
    two: list[Any] = []
    value = (one, two)
    one.append(value)
    two.extend([value, one])

    decoded = codec.decode(codec.encode([value, two]))

    assert decoded[0][0][0] is decoded[0]
    assert decoded[0][1][1] is decoded[0][0]
    assert decoded[1] is decoded[0][1]


def test_cycle_through_a_set_survives_if_the_hash_needs_no_contents() -> None:
    node = Node("a")
    node.up = {node}

    decoded = codec.decode(codec.encode(node))

    assert decoded.up == {decoded}


def test_cycle_through_a_set_is_refused_if_the_hash_needs_contents() -> None:
    inner: set[Any] = set()
    inner.add(Hashed((hashed := Hashed(5),)))
    outer = Hashed(hashed)
    object.__setattr__(hashed, "content", outer)
    object.__setattr__(outer, "content", frozenset())
    box: set[Any] = {outer}
    object.__setattr__(outer, "content", Node("n", links=[box]))

    with pytest.raises(KitaruSerializationError, match="contains itself"):
        codec.encode(outer)


def test_struct_that_contains_itself_is_refused() -> None:
    knot = Knot()
    knot.other = knot

    with pytest.raises(KitaruSerializationError, match="contains itself"):
        codec.encode(knot)


def test_tuples_shared_a_million_times_over_stay_small() -> None:
    value: Any = (1,)
    for _ in range(100):
        value = (value, value)

    encoded = codec.encode(value)

    assert len(encoded.data) < 10_000
    decoded = codec.decode(encoded)
    assert decoded[0] is decoded[1]


def test_deepest_value_that_is_kept_can_be_read_back() -> None:
    for wrap in (
        lambda part: [part],
        lambda part: (part,),
        lambda part: {"k": part},
        lambda part: Node("n", up=part),
    ):
        value: Any = None
        deepest = None
        while True:
            for _ in range(20):
                value = wrap(value)
            try:
                deepest = codec.encode(value)
            except KitaruSerializationError as error:
                refusal = error
                break
        assert "nested too deeply" in refusal.message
        assert refusal.path == "value"
        assert deepest is not None
        codec.decode(deepest)
        codec.describe(deepest.data)
        codec.preview(deepest.data)


def test_depth_does_not_depend_on_where_encode_is_called() -> None:
    value: Any = None
    for _ in range(200):
        value = [value]

    def descend(levels: int) -> codec.Encoded:
        return descend(levels - 1) if levels else codec.encode(value)

    encoded = descend(800)

    assert_round_trip(codec.decode(encoded))
