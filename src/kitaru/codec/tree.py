"""The vocabulary that both directions of the codec share: trees, tags, versions and refusals.

A *tree* is what MessagePack can hold as it is: None, bool, 64-bit int, float, str, bytes, list, and
dict with str keys. Everything else is a *tagged* tree, a map whose first key is the integer 0 and whose
value under it is the tag, such as `{0: "tuple", 1: [1, 2]}`. Plain dicts only ever have str keys, so
the two cannot be confused.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, Final, TypeGuard

import msgspec

Tree = Any  # a recursive type would be precise, and would cost a cast in every handler
UserValue = Any

CODEC: Final = "kitaru/1"
PICKLE_CODEC: Final = "kitaru/1+pickle"

TAG: Final = 0

PLAIN: Final[frozenset[type]] = frozenset({NoneType, bool, int, float, str, bytes})
# In careful mode an int may be larger than 64 bits, and a str may hold a lone surrogate.
CAREFUL_PLAIN: Final[frozenset[type]] = frozenset({NoneType, bool, float, bytes})

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder().decode


class Refused(Exception):  # noqa: N818 - becomes a KitaruSerializationError once its path is known
    """A part of a value cannot be kept.

    Attributes:
        culprit: The part, or an object that has it somewhere inside.
        reason: Why, as the end of a sentence that begins with the part.
    """

    def __init__(self, culprit: UserValue, reason: str) -> None:
        super().__init__(reason)
        self.culprit = culprit
        self.reason = reason


class Unreadable(Exception):  # noqa: N818 - becomes a KitaruSerializationError in `decode`
    """Kept bytes do not describe a value that can be rebuilt here."""


def is_list(tree: Tree) -> TypeGuard[list[Tree]]:
    """Whether a tree is a list."""
    return type(tree) is list


def is_map(tree: Tree) -> TypeGuard[dict[Any, Tree]]:
    """Whether a tree is a map, tagged or not."""
    return type(tree) is dict


def type_name(cls: type[Any]) -> str:
    """Return a class's name as people write it, such as `socket.socket` or `dict`."""
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )
