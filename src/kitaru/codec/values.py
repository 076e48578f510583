"""Encode and decode: the two directions as the rest of Kitaru knows them."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from dataclasses import dataclass
from typing import Any

from kitaru.codec.deep import with_whole_stack
from kitaru.codec.diagnosis import refusal
from kitaru.codec.lift import Lifting
from kitaru.codec.lower import GraphLowering, LateCycle, Lowering
from kitaru.codec.objects import resolve
from kitaru.codec.tree import CODEC, PICKLE_CODEC, PLAIN, Refused, Unreadable, pack, unpack
from kitaru.codec.tree import UserValue as UserValue
from kitaru.errors import KitaruSerializationError

_IMMUTABLE = PLAIN | {
    complex,
    dt.date,
    dt.datetime,
    dt.time,
    dt.timedelta,
    dt.timezone,
    decimal.Decimal,
    uuid.UUID,
}
_IMMUTABLE_CHECKS = 100  # beyond that, copying a tuple costs no more than looking through it


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as bytes.

    Attributes:
        codec: `kitaru/1`, or `kitaru/1+pickle` if any part of the value is pickled.
        data: MessagePack.
    """

    codec: str
    data: bytes


def encode(value: UserValue, *, root: str = "value", allow_pickle: bool = True) -> Encoded:
    """Return a value as bytes from which `decode` makes an equal value of the same types.

    Args:
        root: What to call the value in errors, such as `result`.
        allow_pickle: Whether parts that nothing else can keep may be pickled.

    Raises:
        KitaruSerializationError: A part of the value cannot be kept; `path` names it.
    """
    if type(value) in PLAIN:
        try:
            return Encoded(CODEC, pack(value))
        except (OverflowError, UnicodeEncodeError):
            pass  # a long int or a lone surrogate, which the careful walk below takes
    return _encode(value, root, allow_pickle=allow_pickle, lenient=False)


def encode_exception(
    exc: BaseException, *, root: str = "exception", allow_pickle: bool = True
) -> Encoded:
    """Return an exception as bytes, leaving out attributes that cannot be kept.

    Its notes, causes and members are kept, tracebacks are not.
    """
    return _encode(exc, root, allow_pickle=allow_pickle, lenient=True)


def _encode(value: UserValue, root: str, *, allow_pickle: bool, lenient: bool) -> Encoded:
    def attempt() -> Encoded:
        try:
            return _pack(value, allow_pickle=allow_pickle, careful=False, lenient=lenient)
        except (OverflowError, UnicodeEncodeError):
            return _pack(value, allow_pickle=allow_pickle, careful=True, lenient=lenient)

    try:
        return with_whole_stack(attempt)
    except Refused as refused:
        raise refusal(
            value,
            refused,
            root,
            check=lambda part: _pack(
                part, allow_pickle=allow_pickle, careful=True, lenient=lenient
            ),
        ) from refused.__cause__
    except RecursionError:
        message = f"`{root}` is nested too deeply to be kept; return it in a flatter form."
        raise KitaruSerializationError(message, path=root) from None


def _pack(value: UserValue, *, allow_pickle: bool, careful: bool, lenient: bool) -> Encoded:
    walk = Lowering(resolve, allow_pickle=allow_pickle, careful=careful, lenient=lenient)
    tree = walk.lower(value)
    if walk.shared:
        first = walk
        try:
            walk = GraphLowering(first, number_all=False)
            tree = walk.lower(value)
        except LateCycle:
            walk = GraphLowering(first, number_all=True)
            tree = walk.lower(value)
    encoded = Encoded(PICKLE_CODEC if walk.pickled else CODEC, pack(tree))
    if isinstance(walk, GraphLowering) and walk.cyclic:
        _verify_cycle(value, encoded)
    return encoded


def _verify_cycle(value: UserValue, encoded: Encoded) -> None:
    # An element of a set that contains the set must be hashed before it is complete, which works
    # or not depending on its `__hash__`. Only trying tells.
    try:
        decode(encoded)
    except KitaruSerializationError as error:
        reason = "contains itself in a way in which it cannot be made anew"
        raise Refused(value, reason) from error


def decode(encoded: Encoded, *, allow_pickle: bool = True) -> Any:
    """Return the value that was encoded.

    Modules of classes are imported where they are not loaded. No other code of the user's runs
    unless the codec says `+pickle`.

    Raises:
        KitaruSerializationError: The bytes are damaged or come from a later version, a class is
            gone, or they hold a pickle that is not allowed.
    """
    if encoded.codec not in (CODEC, PICKLE_CODEC):
        message = (
            f"a value is kept in the form {encoded.codec!r}, which this version cannot read."
            f" It reads {CODEC!r}; upgrade Kitaru."
        )
        raise KitaruSerializationError(message)
    allow_pickle = allow_pickle and encoded.codec == PICKLE_CODEC
    try:
        # Every tag is under the key 0, whose byte is zero: without one there is nothing to lift.
        if 0 not in encoded.data:
            return with_whole_stack(lambda: unpack(encoded.data), reads=True)
        return with_whole_stack(
            lambda: Lifting(allow_pickle=allow_pickle).lift(unpack(encoded.data)), reads=True
        )
    except Unreadable as error:
        message = f"a kept value cannot be read: {error}."
        raise KitaruSerializationError(message) from error.__cause__
    except Exception as error:  # damaged bytes may make any constructor raise anything
        reason = str(error) or type(error).__name__
        message = (
            f"a kept value cannot be read; its bytes are damaged or its classes changed: {reason}."
        )
        raise KitaruSerializationError(message) from error


def decode_exception(encoded: Encoded, *, allow_pickle: bool = True) -> BaseException | None:
    """Return the exception that was encoded, or None if it cannot be rebuilt in this process."""
    try:
        found = decode(encoded, allow_pickle=allow_pickle)
    except KitaruSerializationError:
        return None
    return found if isinstance(found, BaseException) else None


def is_immutable(value: object) -> bool:
    """Whether a value can be handed out without copying; False when in doubt."""
    kind: type[Any] = type(value)
    if kind in _IMMUTABLE or isinstance(value, enum.Enum):
        return True
    return kind in (tuple, frozenset) and _is_immutable_throughout(value)


def _is_immutable_throughout(value: Any) -> bool:
    pending: list[Any] = [value]
    for _ in range(_IMMUTABLE_CHECKS):
        if not pending:
            return True
        part = pending.pop()
        kind: Any = type(part)  # pyright: ignore[reportUnknownVariableType] - of anything
        if kind is tuple or kind is frozenset:
            pending.extend(part)
        elif kind not in _IMMUTABLE and not isinstance(part, enum.Enum):
            return False
    return not pending
