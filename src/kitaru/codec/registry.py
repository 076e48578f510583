"""Codecs for other people's types, by name and version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kitaru.codec.lift import Lifter, Lifting
from kitaru.codec.lower import Lowering, Strategy
from kitaru.codec.tree import TAG, Tree, Unreadable
from kitaru.errors import KitaruUsageError

ENTRY_POINT_GROUP = "kitaru.codecs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How values of one type are kept.

    Attributes:
        type: The exact type; subclasses need codecs of their own.
        name: What stored values name; unique, and stable for ever.
        version: What `encode` writes at present.
        encode: Turns a value into one that Kitaru can keep.
        decode: Turns that one, and the version it was written with, into the value.
    """

    type: type
    name: str
    version: int
    encode: Callable[[Any], Any]
    decode: Callable[[Any, int], Any]


_by_type: dict[type, Codec] = {}
_by_name: dict[str, Codec] = {}


def register(
    cls: type[Any],
    *,
    name: str,
    version: int,
    encode: Callable[[Any], Any],
    decode: Callable[[Any, int], Any],
) -> None:
    """Keep values of a type of one's own in a form of one's own.

    A package offers its codecs under the entry point group `kitaru.codecs`: an entry point with the
    codec's name refers to a function without parameters that calls `register`. It is called when a
    stored value asks for the name.

    Args:
        cls: The exact type; subclasses need codecs of their own.
        name: What stored values name, such as `acme.money`; must never change.
        version: What `encode` writes at present; `decode` is given the one it reads.
        encode: Turns a value into one that Kitaru can keep.
        decode: Turns that one, and its version, into the value.

    Raises:
        KitaruUsageError: Another type is registered under this name.
    """
    known = _by_name.get(name)
    if known is not None and known.type is not cls:
        message = f"codec name {name!r} is taken by `{known.type.__qualname__}`; choose another."
        raise KitaruUsageError(message)
    codec = Codec(type=cls, name=name, version=version, encode=encode, decode=decode)
    _by_type[cls] = _by_name[name] = codec


def strategy_for(cls: type) -> Strategy | None:
    """Return the strategy for a type that has a registered codec."""
    codec = _by_type.get(cls)
    if codec is None:
        return None

    def lower(walk: Lowering, value: Any) -> Tree:
        payload = codec.encode(value)
        walk.hold(payload)
        return {TAG: "ext", 1: codec.name, 2: codec.version, 3: walk.lower(payload)}

    return Strategy(lower, late=True)


def _lift(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    name, version = tree[1], tree[2]
    codec = _by_name.get(name) or _load(name)
    if version > codec.version:
        message = (
            f"it was written by version {version} of codec {name!r}, and only"
            f" version {codec.version} is installed"
        )
        raise Unreadable(message)
    return codec.decode(walk.lift(tree[3]), version)


def _load(name: str) -> Codec:
    from importlib.metadata import entry_points  # costs as much as the rest of the codec

    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        entry_point.load()()
    if name not in _by_name:
        message = f"codec {name!r} is not installed"
        raise Unreadable(message)
    return _by_name[name]


LIFTED: dict[str, Lifter] = {"ext": Lifter(_lift)}
