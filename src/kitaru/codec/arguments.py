"""Canonical bytes of a call's arguments, from which its fingerprint is taken.

Two calls with equal arguments must give equal bytes, in every process and whatever the arguments
happen to share. So sharing is ignored, sets are sorted, and nothing is pickled: what has no form of its
own is written as the parts that its `__reduce__` names. These bytes are described, never decoded.
"""

from __future__ import annotations

import copyreg
import types
from collections.abc import Iterable, Mapping
from typing import Any

from kitaru.codec.deep import with_whole_stack
from kitaru.codec.diagnosis import refusal
from kitaru.codec.lower import ATOMS, STRATEGIES, Lowering
from kitaru.codec.naming import stable_module_name
from kitaru.codec.objects import resolve
from kitaru.codec.tree import TAG, Refused, Tree, UserValue, pack
from kitaru.errors import KitaruSerializationError

_MOST_CONTAINERS = 5_000_000  # nested shared tuples grow without end once sharing is ignored


def encode_arguments(arguments: Mapping[str, UserValue], *, allow_pickle: bool = True) -> bytes:
    """Return bytes that are equal for equal arguments, in every process.

    Args:
        arguments: Values by parameter name.
        allow_pickle: Makes no difference, since nothing is pickled here; taken so that all
            encoders are called alike.

    Raises:
        KitaruSerializationError: An argument holds something that has no contents to compare,
            such as a connection; `path` names it.
    """
    try:
        return with_whole_stack(lambda: _pack(arguments))
    except Refused as refused:
        raise refusal(
            dict(arguments),
            refused,
            "arguments",
            check=lambda part: _pack({"part": part}),
            advice=_advice,
        ) from refused.__cause__
    except RecursionError:
        message = (
            "`arguments` are nested too deeply to be compared. Leave the deep one out of the"
            ' fingerprint with `@checkpoint(ignore=["name"])`.'
        )
        raise KitaruSerializationError(message, path="arguments") from None


def _advice(path: str) -> str:
    name = path.removeprefix("arguments[").partition("]")[0]
    return f"Leave it out of the fingerprint with `@checkpoint(ignore=[{name}])`."


def _pack(arguments: Mapping[str, UserValue]) -> bytes:
    try:
        return _pack_carefully(arguments, careful=False)
    except (OverflowError, UnicodeEncodeError):
        return _pack_carefully(arguments, careful=True)


def _pack_carefully(arguments: Mapping[str, UserValue], *, careful: bool) -> bytes:
    return pack(CanonicalLowering(careful=careful).mapping(arguments))


class CanonicalLowering(Lowering):
    """The walk whose trees depend on contents alone."""

    def __init__(self, *, careful: bool) -> None:
        super().__init__(resolve, allow_pickle=True, careful=careful)
        self._open: dict[int, int] = {}  # ids of what contains the present part, by depth
        self._containers = 0

    def lower(self, value: object) -> Tree:
        kind: type[Any] = type(value)
        if kind in self.plain:
            return value
        atom = ATOMS.get(kind)
        if atom is not None:
            return atom(self, value)
        key = id(value)
        depth = len(self._open)
        if key in self._open:
            return {TAG: "up", 1: depth - self._open[key]}
        self._containers += 1
        if self._containers > _MOST_CONTAINERS:
            raise Refused(value, "is too large to be compared")
        self._open[key] = depth
        strategy = STRATEGIES.get(kind) or self.resolve(self, value)
        tree = strategy.lower(self, value)
        del self._open[key]
        return tree

    def set_items(self, values: Iterable[UserValue]) -> list[Tree]:
        return sorted(self.items(values), key=pack)

    def name_of(self, target: Any) -> str | None:
        # Classes are told apart by name even where the name leads nowhere; the code of local
        # functions is compared instead.
        if isinstance(target, type) and not vars(target).get("__pydantic_generic_metadata__"):
            return f"{stable_module_name(target)}:{target.__qualname__}"
        return super().name_of(target)

    def pickle(self, value: UserValue) -> Tree:
        if isinstance(value, type):
            return {TAG: "class", 1: f"{stable_module_name(value)}:{value.__qualname__}"}
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, types.ModuleType):
            return {TAG: "module", 1: value.__name__}
        return self._reduced(value)

    def _function(self, value: types.FunctionType) -> Tree:
        cells = [_contents(cell) for cell in value.__closure__ or ()]
        return {
            TAG: "code",
            1: value.__qualname__,
            2: self._code(value.__code__),
            3: self.items(cells),
            4: self.items(value.__defaults__ or ()),
            5: self.mapping(value.__kwdefaults__ or {}),
        }

    def _code(self, code: types.CodeType) -> Tree:
        # Neither line numbers nor the file's name: moving a function does not change it.
        return [code.co_code, self.items(code.co_consts), list(code.co_names)]

    def _reduced(self, value: object) -> Tree:
        try:
            reducer = copyreg.dispatch_table.get(type(value))
            reduced: Any = reducer(value) if reducer else value.__reduce_ex__(4)
        except RecursionError:
            raise
        except Exception as error:  # the value's own code may raise anything
            raise Refused(value, f"cannot be compared: {error}") from error
        name = self.name_of(type(value))
        if isinstance(reduced, str):
            return {TAG: "global", 1: name, 2: reduced}
        parts: tuple[Any, ...] = (*reduced, None, None, None)
        function, arguments, state, items, pairs = parts[:5]
        return {
            TAG: "reduce",
            1: name,
            2: self.lower(function),
            3: self.items(arguments),
            4: self.lower(state),
            5: self.items(items or ()),
            6: self.items(tuple(pair) for pair in pairs or ()),
        }


def _contents(cell: Any) -> UserValue:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return ...
