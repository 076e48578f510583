"""Types that refuse what a record does not know.

Records are dataclasses, and a decoder drops the fields of a dataclass that it does not know. On a request
that would be data that somebody has sent and nobody has written. So what comes in is looked at first through
a twin of its type, made of structs that forbid unknown fields.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Union, cast

import msgspec

_twins: dict[Any, Any] = {}


def strict_twin(kind: Any) -> Any:
    """Return a type that accepts what `kind` does, at most, and refuses unknown fields at every depth.

    What it decodes to is of no use. Fields may be missing: that is left to the type itself.
    """
    if kind not in _twins:
        _twins[kind] = _twin(kind)
    return _twins[kind]


def _twin(kind: Any) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return _struct(
            kind.__name__, {entry.name: hints[entry.name] for entry in dataclasses.fields(kind)}
        )
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        return _struct(kind.__name__, typing.get_type_hints(kind), tag=config.tag)
    arguments = tuple(strict_twin(argument) for argument in typing.get_args(kind))
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return Union[arguments]  # noqa: UP007 - of a tuple that is known only here
    if origin is not None and arguments:
        return origin[arguments]
    return cast("Any", kind)


def _struct(name: str, hints: dict[str, Any], tag: Any = None) -> Any:
    fields: list[Any] = [(field, strict_twin(kind), None) for field, kind in hints.items()]
    return msgspec.defstruct(name, fields, tag=tag, kw_only=True, forbid_unknown_fields=True)
