"""What "the same value" means in these tests: same types, same contents, same sharing."""

from __future__ import annotations

import datetime as dt
import math
import struct
from collections import Counter, defaultdict, deque
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

from kitaru import codec

ATOMIC = (type(None), bool, int, str, bytes, range, type)
# Whether two places hold the same one of these is nothing that a program may depend on.
INTERCHANGEABLE = (tuple, frozenset, dt.date, dt.timedelta, Fraction, UUID, PurePath, Enum)


def assert_round_trip(value: Any, *, codec_name: str | None = "kitaru/1") -> Any:
    encoded = codec.encode(value)
    if codec_name is not None:
        assert encoded.codec == codec_name
    codec.describe(encoded.data)
    codec.preview(encoded.data)
    decoded = codec.decode(encoded)
    assert_same(decoded, value)
    return decoded


def assert_same(left: Any, right: Any) -> None:
    _compare(left, right, {}, "value")


def _compare(left: Any, right: Any, pairs: dict[int, Any], path: str) -> None:
    assert type(left) is type(right), path
    if isinstance(right, ATOMIC):
        assert left == right, path
        return
    if _compare_number(left, right, path):
        return
    if id(right) in pairs:
        assert pairs[id(right)] is left or isinstance(right, INTERCHANGEABLE), path
        return
    pairs[id(right)] = left
    if isinstance(right, dict):
        _compare_dict(left, right, pairs, path)
    elif isinstance(right, list | tuple | deque):
        assert len(left) == len(right), path
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            _compare(one, other, pairs, f"{path}[{index}]")
        assert getattr(left, "maxlen", None) == getattr(right, "maxlen", None)
    elif isinstance(right, set | frozenset):
        assert left == right, path
        assert Counter(map(type, left)) == Counter(map(type, right)), path
    elif hasattr(right, "__dict__") and type(right).__eq__ is object.__eq__:
        _compare(vars(left), vars(right), pairs, f"{path}.__dict__")
    else:
        assert left == right, path
        assert repr(left) == repr(right), path


def _compare_number(left: Any, right: Any, path: str) -> bool:
    if isinstance(right, float):
        both_nan = math.isnan(left) and math.isnan(right)
        assert both_nan or struct.pack("d", left) == struct.pack("d", right), path
    elif isinstance(right, complex):
        _compare_number(left.real, right.real, path)
        _compare_number(left.imag, right.imag, path)
    elif isinstance(right, Decimal):
        assert str(left) == str(right), path
    elif isinstance(right, dt.datetime | dt.time):
        assert left.replace(tzinfo=None) == right.replace(tzinfo=None), path
        assert left.fold == right.fold, path
        assert repr(left.tzinfo) == repr(right.tzinfo), path
    else:
        return False
    return True


def _compare_dict(left: Any, right: Any, pairs: dict[int, Any], path: str) -> None:
    assert len(left) == len(right), path
    for (key, part), (other_key, other) in zip(left.items(), right.items(), strict=True):
        _compare(key, other_key, pairs, f"{path}.<key>")
        _compare(part, other, pairs, f"{path}[{key!r}]")
    if isinstance(right, defaultdict):
        assert left.default_factory is right.default_factory, path
