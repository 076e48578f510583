"""Where a page ends, as one opaque word that the next request gives back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from kitaru.server.refusal import Refusal

_MOST = 2**62  # no moment and no cursor is larger; databases count no further


def write_key(parts: Sequence[int | str]) -> str:
    """Return a page's last key as a word."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(parts))).decode().rstrip("=")


def read_key(word: str, kinds: Sequence[type[int | str]]) -> Any:
    """Return the key that a word was made of, whose parts are of these kinds.

    Raises:
        Refusal: It was made of something else.
    """
    try:
        padded = word + "=" * (-len(word) % 4)
        parts = msgspec.json.decode(base64.urlsafe_b64decode(padded.encode()), type=list[int | str])
    except (binascii.Error, msgspec.MsgspecError, ValueError) as error:
        raise _refusal(word) from error
    if list(map(type, parts)) != list(kinds) or not all(map(_is_storable, parts)):
        raise _refusal(word)
    return tuple(parts)


def _is_storable(part: int | str) -> bool:
    return "\0" not in part if isinstance(part, str) else 0 <= part < _MOST


def _refusal(word: str) -> Refusal:
    detail = f"expected `after` to be the `next` of an earlier page, got: {word!r}"
    return Refusal(422, detail)
