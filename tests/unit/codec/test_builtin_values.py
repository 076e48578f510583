from __future__ import annotations

import datetime as dt
import decimal
import math
import operator
import pathlib
import re
import sys
import types
import typing
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from kitaru import codec
from tests.unit.codec.exactness import assert_round_trip

BERLIN = ZoneInfo("Europe/Berlin")
VALUES = [
    None,
    True,
    False,
    0,
    -1,
    2**63,
    2**64 - 1,
    2**64,
    -(2**63),
    -(2**63) - 1,
    10**5000,
    -(7**3000),
    0.0,
    -0.0,
    0.1,
    math.inf,
    -math.inf,
    math.nan,
    5e-324,
    complex(-0.0, math.nan),
    "",
    "text",
    "\x00",
    "naïve 🜚",
    "\ud800",
    "\udc80 and \ud83d\ude00 as two halves",
    "x" * 70_000,
    b"",
    b"\x00\xff",
    bytearray(b"mutable\x00"),
    [],
    [[], [[]]],
    [1, "two", None, 3.0],
    (),
    ((), ((),)),
    (1, [2, (3,)]),
    set(),
    {1, "two", (3, frozenset({4}))},
    frozenset(),
    frozenset({None, True}),
    {},
    {"a": {"b": [1, {"c": None}]}},
    {"": 1, "\ud800": 2},
    {0: "tuple", 1: []},
    {1: "int", "1": "str", None: "none", (1, 2): "tuple", 1.5: "float", b"x": "bytes"},
    {True: 1, 0: 2},
    {frozenset({1}): {2: {3: 4}}},
    OrderedDict([("b", 1), ("a", [2])]),
    defaultdict(list, {"a": [1]}),
    defaultdict(None, {1: 2}),
    Counter("abracadabra"),
    Counter({"a": -1, "b": 0}),
    deque([1, [2]], maxlen=5),
    deque(),
    range(0),
    range(10, -(10**30), -3),
    slice(None),
    slice(1, "b", [3]),
    ...,
    NotImplemented,
    dt.date(1, 1, 1),
    dt.datetime.max,  # noqa: DTZ901 - naive moments must survive as well
    dt.datetime(2024, 2, 29, 12, 30, 15, 1),  # noqa: DTZ001 - naive
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3, seconds=7, microseconds=9))),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2), "CEST")),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(0), "Zulu")),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
    dt.time(1, 2, 3, 4),
    dt.time(1, 2, tzinfo=dt.UTC, fold=1),
    dt.timedelta.max,
    dt.timedelta.min,
    dt.timedelta(microseconds=-1),
    dt.UTC,
    BERLIN,
    decimal.Decimal("1.10"),
    decimal.Decimal("-0E+7"),
    decimal.Decimal("NaN123"),
    decimal.Decimal("-sNaN"),
    decimal.Decimal("Infinity"),
    decimal.Decimal("1E-999999"),
    Fraction(-1, 3),
    Fraction(10**40, 7),
    uuid.UUID(int=5),
    pathlib.Path("a/b"),
    pathlib.Path("bad\udcff name"),
    pathlib.PurePosixPath("/x"),
    pathlib.PureWindowsPath("c:\\x"),
    re.compile("a(b)", re.IGNORECASE | re.DOTALL),
    re.compile(b"\xff"),
    int,
    type(None),
    dict,
    len,
    math.sqrt,
    pathlib.Path,
    re.sub,
    list[int],
    dict[str, list[int]],
    int | None,
    typing.Optional[str],  # noqa: UP045 - not the same as `str | None`
    typing.Literal["a", 1],
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_builtin_value_round_trips_exactly(value: object) -> None:
    assert_round_trip(value)
    assert_round_trip({"nested": [value, (value,)]})


def test_singletons_stay_the_same_object() -> None:
    for value in (None, True, ..., NotImplemented, int, len, dt.UTC):
        assert codec.decode(codec.encode(value)) is value


def test_uuid_keeps_how_safely_it_was_made() -> None:
    value = uuid.UUID(int=1, is_safe=uuid.SafeUUID.safe)

    decoded = codec.decode(codec.encode(value))

    assert decoded.is_safe is uuid.SafeUUID.safe


@pytest.mark.parametrize(
    "value",
    [
        types.SimpleNamespace(a=[1]),
        operator.attrgetter("a"),
        typing.List[int],  # noqa: UP006 - not the same as list[int]
        sys,
    ],
)
def test_value_without_a_form_of_its_own_is_pickled_and_marked(value: object) -> None:
    encoded = codec.encode([value])

    assert encoded.codec == "kitaru/1+pickle"
    assert repr(codec.decode(encoded)) == repr([value])


def test_lambda_is_pickled_by_value_with_what_it_captures() -> None:
    factor = 3

    decoded = codec.decode(codec.encode(lambda number: number * factor))

    assert decoded(2) == 6


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, True),
        ("a", True),
        (dt.date(2024, 1, 1), True),
        (uuid.UUID(int=1), True),
        (uuid.SafeUUID.safe, True),
        ((1, ("a", frozenset({b"b"}))), True),
        ([], False),
        ((1, []), False),
        (pathlib.Path(), False),
        (tuple(range(10_000)), False),
    ],
)
def test_is_immutable_says_what_needs_no_copy(value: object, expected: bool) -> None:
    assert codec.is_immutable(value) is expected
