"""Values without parts that could be shared: numbers, text, moments, identifiers, paths."""

from __future__ import annotations

import datetime as dt
import decimal
import pathlib
import re
import types
import uuid
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from kitaru.codec.lift import Lifter, Lifting
from kitaru.codec.lower import Lowering, is_utf8
from kitaru.codec.tree import TAG, Tree, Unreadable

_PATHS: dict[str, type[pathlib.PurePath]] = {
    "posix": pathlib.PurePosixPath,
    "windows": pathlib.PureWindowsPath,
    "concrete": pathlib.Path,
}
_CONSTANTS: dict[str, object] = {"Ellipsis": ..., "NotImplemented": NotImplemented}


def _int(walk: Lowering, value: int) -> Tree:
    if -(2**63) <= value < 2**64:
        return value
    return {TAG: "int", 1: hex(value)}


def _str(walk: Lowering, value: str) -> Tree:
    if is_utf8(value):
        return value
    return {TAG: "str", 1: value.encode("utf-8", "surrogatepass")}


def _complex(walk: Lowering, value: complex) -> Tree:
    return {TAG: "complex", 1: value.real, 2: value.imag}


def _decimal(walk: Lowering, value: decimal.Decimal) -> Tree:
    return {TAG: "decimal", 1: str(value)}


def _fraction(walk: Lowering, value: Fraction) -> Tree:
    return {TAG: "fraction", 1: f"{value.numerator:x}/{value.denominator:x}"}


def _uuid(walk: Lowering, value: uuid.UUID) -> Tree:
    if value.is_safe is uuid.SafeUUID.unknown:
        return {TAG: "uuid", 1: str(value)}
    return {TAG: "uuid", 1: str(value), 2: value.is_safe.value}


def _date(walk: Lowering, value: dt.date) -> Tree:
    return {TAG: "date", 1: value.isoformat()}


def _datetime(walk: Lowering, value: dt.datetime) -> Tree:
    return _moment(walk, "datetime", value)


def _time(walk: Lowering, value: dt.time) -> Tree:
    return _moment(walk, "time", value)


def _moment(walk: Lowering, tag: str, value: dt.datetime | dt.time) -> Tree:
    tree: dict[Any, Tree] = {TAG: tag, 1: value.replace(tzinfo=None).isoformat()}
    if value.tzinfo is not None:
        tree[2] = walk.lower(value.tzinfo)
    if value.fold:
        tree[3] = value.fold
    return tree


def _timedelta(walk: Lowering, value: dt.timedelta) -> Tree:
    return {TAG: "timedelta", 1: value.days, 2: value.seconds, 3: value.microseconds}


def _timezone(walk: Lowering, value: dt.timezone) -> Tree:
    if value is dt.UTC:
        return {TAG: "timezone"}
    offset = value.utcoffset(None) // dt.timedelta(microseconds=1)
    # The arguments tell a name that was given from the one that follows from the offset.
    arguments: tuple[Any, ...] = getattr(value, "__getinitargs__")()  # noqa: B009 - not in the stubs
    if len(arguments) == 1:
        return {TAG: "timezone", 1: offset}
    return {TAG: "timezone", 1: offset, 2: walk.lower(arguments[1])}


def _path(kind: str) -> Callable[[Lowering, pathlib.PurePath], Tree]:
    def lower(walk: Lowering, value: pathlib.PurePath) -> Tree:
        return {TAG: "path", 1: walk.lower(str(value)), 2: kind}

    return lower


def _pattern(walk: Lowering, value: re.Pattern[Any]) -> Tree:
    return {TAG: "pattern", 1: walk.lower(value.pattern), 2: value.flags}


def _range(walk: Lowering, value: range) -> Tree:
    return {TAG: "range", 1: walk.items((value.start, value.stop, value.step))}


def _constant(walk: Lowering, value: object) -> Tree:
    return {TAG: "constant", 1: repr(value)}


LOWERED: dict[type, Callable[[Lowering, Any], Tree]] = {
    int: _int,
    str: _str,
    complex: _complex,
    decimal.Decimal: _decimal,
    Fraction: _fraction,
    uuid.UUID: _uuid,
    dt.date: _date,
    dt.datetime: _datetime,
    dt.time: _time,
    dt.timedelta: _timedelta,
    dt.timezone: _timezone,
    pathlib.PurePosixPath: _path("posix"),
    pathlib.PureWindowsPath: _path("windows"),
    type(pathlib.Path()): _path("concrete"),
    re.Pattern: _pattern,
    range: _range,
    types.EllipsisType: _constant,
    types.NotImplementedType: _constant,
}


def _lift_fraction(walk: Lifting, tree: dict[Any, Tree]) -> Fraction:
    numerator, denominator = tree[1].split("/")
    return Fraction(int(numerator, 16), int(denominator, 16))


def _lift_uuid(walk: Lifting, tree: dict[Any, Tree]) -> uuid.UUID:
    if 2 in tree:
        return uuid.UUID(tree[1], is_safe=uuid.SafeUUID(tree[2]))
    return uuid.UUID(tree[1])


def _lift_datetime(walk: Lifting, tree: dict[Any, Tree]) -> dt.datetime:
    return _with_zone(walk, tree, dt.datetime.fromisoformat(tree[1]))


def _lift_time(walk: Lifting, tree: dict[Any, Tree]) -> dt.time:
    return _with_zone(walk, tree, dt.time.fromisoformat(tree[1]))


def _with_zone(walk: Lifting, tree: dict[Any, Tree], naive: Any) -> Any:
    if len(tree) == 2:
        return naive
    return naive.replace(tzinfo=walk.lift(tree.get(2)), fold=tree.get(3, 0))


def _lift_timezone(walk: Lifting, tree: dict[Any, Tree]) -> dt.timezone:
    if 1 not in tree:
        return dt.UTC
    offset = dt.timedelta(microseconds=tree[1])
    return dt.timezone(offset, walk.lift(tree[2])) if 2 in tree else dt.timezone(offset)


def _lift_path(walk: Lifting, tree: dict[Any, Tree]) -> pathlib.PurePath:
    return _PATHS[tree[2]](walk.lift(tree[1]))


def _lift_constant(walk: Lifting, tree: dict[Any, Tree]) -> object:
    if tree[1] not in _CONSTANTS:
        message = f"unknown constant {tree[1]!r}"
        raise Unreadable(message)
    return _CONSTANTS[tree[1]]


LIFTED: dict[str, Lifter] = {
    "int": Lifter(lambda _, tree: int(tree[1], 16)),
    "str": Lifter(lambda _, tree: tree[1].decode("utf-8", "surrogatepass")),
    "complex": Lifter(lambda _, tree: complex(tree[1], tree[2])),
    "decimal": Lifter(lambda _, tree: decimal.Decimal(tree[1])),
    "fraction": Lifter(_lift_fraction),
    "uuid": Lifter(_lift_uuid),
    "date": Lifter(lambda _, tree: dt.date.fromisoformat(tree[1])),
    "datetime": Lifter(_lift_datetime),
    "time": Lifter(_lift_time),
    "timedelta": Lifter(lambda _, tree: dt.timedelta(tree[1], tree[2], tree[3])),
    "timezone": Lifter(_lift_timezone),
    "path": Lifter(_lift_path),
    "pattern": Lifter(lambda walk, tree: re.compile(walk.lift(tree[1]), tree[2])),
    "range": Lifter(lambda walk, tree: range(*walk.items(tree[1]))),
    "constant": Lifter(_lift_constant),
}
