from __future__ import annotations

import copy
import datetime as dt
from collections import OrderedDict, deque
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitaru import codec
from kitaru.codec.lift import LIFTERS
from kitaru.errors import KitaruSerializationError
from tests.unit.codec.exactness import assert_same

TAGS = [*sorted(LIFTERS), "def", "ref", "then", "up", "code", "reduce"]
zones = st.one_of(
    st.none(),
    st.timezones(),
    st.builds(dt.timezone, st.timedeltas(dt.timedelta(-0.9), dt.timedelta(0.9))),
)
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62, max_value=2**66),
    st.floats(),
    st.complex_numbers(allow_nan=False),
    st.text(st.characters(codec=None, categories=None)),
    st.binary(),
    st.decimals(),
    st.fractions(),
    st.uuids(),
    st.dates(),
    st.datetimes(timezones=zones),
    st.times(timezones=zones),
    st.timedeltas(),
)
keys = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.dates()),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)
values = st.recursive(
    st.one_of(atoms, keys),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(), inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
        st.lists(inner, max_size=3).map(deque),
        st.sets(keys, max_size=4),
        inner.map(lambda part: [part, (part,), part]),
    ),
    max_leaves=12,
)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(values)
def test_any_value_round_trips_exactly(value: Any) -> None:
    encoded = codec.encode(value)

    assert_same(codec.decode(encoded), value)
    assert encoded.codec == "kitaru/1"


@quick
@given(values)
def test_any_value_encodes_to_the_same_bytes_after_a_round_trip(value: Any) -> None:
    arguments = {"a": value}

    data = codec.encode_arguments(arguments)

    assert codec.encode_arguments(codec.decode(codec.encode(arguments))) == data
    assert codec.encode_arguments(copy.deepcopy(arguments)) == data


@quick
@given(values)
def test_any_description_is_json(value: Any) -> None:
    for data in (codec.encode(value).data, codec.encode_arguments({"a": value})):
        msgspec.json.encode(codec.describe(data))
        assert len(codec.preview(data, limit=20)) <= 20


@quick
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_read(data: bytes) -> None:
    _read(data)


@quick
@given(values, st.data())
def test_flipped_bits_are_refused_or_read(value: Any, data: Any) -> None:
    damaged = bytearray(codec.encode(value).data)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) * 8 - 1))
        damaged[position // 8] ^= 1 << position % 8

    _read(bytes(damaged))


trees = st.recursive(
    st.one_of(
        st.none(),
        st.integers(-5, 70),
        st.floats(),
        st.text(max_size=3),
        st.binary(max_size=3),
        st.sampled_from(["os:system", "builtins:int", "builtins:ValueError", "enum:FlagBoundary"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.integers(1, 7), inner, max_size=5).flatmap(
            lambda parts: st.sampled_from(TAGS).map(lambda tag: {0: tag, **parts})
        ),
    ),
    max_leaves=10,
)


@settings(quick, max_examples=500)
@given(trees)
def test_made_up_trees_are_refused_or_read(tree: Any) -> None:
    _read(msgspec.msgpack.encode(tree))


@pytest.mark.parametrize("length", [1, 1_000, 200_000])
def test_nested_without_end_is_refused(length: int) -> None:
    for start in (b"\x91", b"\x81\x00", b"\x82\x00\xa5tuple\x01\x91"):
        with pytest.raises(KitaruSerializationError):
            _decode(start * length)


@pytest.mark.parametrize(
    "tree",
    [
        {0: "ndarray", 1: "<f8", 2: [2**62], 3: b""},
        {0: "ndarray", 1: "<U1000000000", 2: [1000], 3: b""},
        {0: "object_array", 1: [2**40], 2: []},
        {0: "numpy_scalar", 1: "<U1000000000", 2: b""},
        {0: "deque", 1: [], 2: -1},
        {0: "int", 1: "not hex"},
        {0: "bytearray", 1: 2**40},
        {0: "function", 1: "os:system.__call__"},
        {0: "function", 1: "builtins:int"},
        {0: "object", 1: "builtins:ValueError", 2: {}},
        {0: "enum", 1: "builtins:int", 2: "real"},
        {0: "model", 1: "collections:Counter", 2: {}},
        {0: "exception", 1: "builtins:int", 2: [], 3: {}},
        {0: "exception", 1: "builtins:ValueError", 2: [], 3: {}, 4: [1]},
        {0: "subclass", 1: "builtins:ValueError", 2: "list", 3: [], 4: {}},
        {0: "ext", 1: "nobody.has.this", 2: 1, 3: None},
        {0: "class", 1: "no_such_module_anywhere:X"},
        {0: "class", 1: "no colon"},
        {0: "class", 1: "os:environ"},
        {0: "from the future", 1: 1},
        {0: ["unhashable"]},
        {0: "ref", 1: 1},
    ],
    ids=str,
)
def test_absurd_tree_is_refused(tree: Any) -> None:
    with pytest.raises(KitaruSerializationError):
        _decode(msgspec.msgpack.encode(tree))


def _read(data: bytes) -> None:
    for read in (codec.describe, codec.preview, _decode):
        try:
            read(data)
        except KitaruSerializationError:
            continue


def _decode(data: bytes) -> None:
    codec.decode(codec.Encoded("kitaru/1+pickle", data))
