"""From what users declare and give in Python to JSON: types become JSON Schema, values JSON texts."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kitaru.errors import KitaruUsageError
from kitaru.schemas.texts import (
    ANSWER_LIMIT,
    UserValue,
    compact,
    cut,
    find_infinite,
    is_list,
    is_object,
    parse,
    step,
)

if TYPE_CHECKING:
    from pydantic.json_schema import GenerateJsonSchema

_WAY_OUT = (
    "Give a type that JSON can express (bool, str, int, list[str], Literal, an enum, a dataclass, a pydantic"
    " model), a JSON Schema as a dict, or None to ask for no value."
)


def schema_of(type_or_schema: UserValue) -> str | None:
    """Return the JSON Schema of answers of a type, as JSON text that is the same in every process.

    Args:
        type_or_schema: A type that pydantic can describe, or a JSON Schema as a dict. None asks for no
            value: the wait is a gate, and so is the result None.

    Raises:
        KitaruUsageError: JSON Schema cannot express it, or it is no valid JSON Schema.
    """
    if type_or_schema is None:
        return None
    if is_object(type_or_schema):
        return _declared_schema(type_or_schema)
    _check_is_type(type_or_schema)
    schema = _described(type_or_schema)
    try:
        text = compact(schema)
        text.encode()
    except ValueError as error:
        problem = (
            f"a default or a description in it cannot be stored as JSON ({_first_line(error)})"
        )
        raise _refusal(_name(type_or_schema), problem) from error
    return text


def to_json(value: object) -> str:
    """Return the JSON text of a value given in Python: plain ones, models, dataclasses, enums, moments.

    Raises:
        KitaruUsageError: JSON cannot express it, or it is larger than 1 MiB.
    """
    import pydantic_core

    try:
        plain = pydantic_core.to_jsonable_python(value)
        path = find_infinite(plain, "value")
        text = "" if path else compact(plain)
        size = len(text.encode())
    except Exception as error:  # serializers of the user's types may raise anything
        message = (
            f"expected a value that JSON can express, got: {_name(value)} ({_first_line(error)}). Give plain"
            " values, a dataclass or a pydantic model."
        )
        raise KitaruUsageError(message) from error
    if path:
        message = (
            f"expected a value that JSON can express: {path} is infinite or not a number, for which JSON has"
            " no word. Use null or a text instead."
        )
        raise KitaruUsageError(message)
    problem = size_problem(size)
    if problem:
        message = f"the value {problem}."
        raise KitaruUsageError(message)
    return text


def size_problem(size: int) -> str:
    """Return what is wrong with a JSON text of so many bytes, or an empty text if it is not too large."""
    if size <= ANSWER_LIMIT:
        return ""
    return (
        f"takes {size / 1024 / 1024:.1f} MiB as JSON, and 1 MiB is the most. Answer with a reference"
        " instead: a path, a URL, or the id of an artifact"
    )


def _check_is_type(declared: UserValue) -> None:
    problem = ""
    if isinstance(declared, str):
        problem = "it is a text. Give the type itself, and the text to show as `question=`"
    elif isinstance(declared, _FUNCTIONS):
        # pydantic would describe a function's arguments, and call it with the answer.
        problem = "it is a function, not a type"
    elif isinstance(declared, bool | int | float | list | tuple | set):
        problem = "it is a value, not a type"
    if problem:
        raise _refusal(_name(declared), problem)  # pyright: ignore[reportUnknownArgumentType] - a user's value


_FUNCTIONS = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    functools.partial,
)


def _described(declared: UserValue) -> dict[str, UserValue]:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        adapter: TypeAdapter[UserValue] = TypeAdapter(declared)
        return adapter.json_schema(mode="validation", schema_generator=_generator())
    except Exception as error:  # the schema hooks of a user's types may raise anything
        if _is_instance(declared):
            problem = f"it is an instance of {type(declared).__qualname__}, not a type"
        elif isinstance(error, PydanticUserError):
            words = _first_line(error.message).partition(" Set `arbitrary_types_allowed")[0]
            problem = f"pydantic says: {words}"
        else:
            problem = f"{type(error).__name__}: {_first_line(error)}"
        raise _refusal(_name(declared), problem) from error


def _is_instance(declared: UserValue) -> bool:
    """Whether it is an object of the class that was meant, rather than one that stands for a type."""
    return not isinstance(declared, type) and type(declared).__module__ not in _TYPE_MODULES


_TYPE_MODULES = frozenset({"builtins", "collections.abc", "types", "typing", "typing_extensions"})


@functools.cache
def _generator() -> type[GenerateJsonSchema]:
    from pydantic.json_schema import GenerateJsonSchema

    class Quiet(GenerateJsonSchema):
        # A default that JSON cannot express is left out of the schema, and works all the same.
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as its base

    return Quiet


_A_DICT = "a dict"


def _declared_schema(schema: dict[str, UserValue]) -> str:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        text = compact(_in_order(schema))
        parse(text)
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"it is no JSON ({_first_line(error)})"
        raise _refusal(_A_DICT, problem) from error
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "schema" + "".join(step(part) for part in error.absolute_path)
        problem = f"it is no valid JSON Schema: {where}: {cut(error.message, 200)}"
        raise _refusal(_A_DICT, problem) from error
    for reference in _references(schema):
        if not _resolves(schema, reference):
            problem = (
                f"it refers to {reference!r}, which is not in it. Nothing is ever fetched for a schema: put"
                " what it refers to below `$defs`, as `#/$defs/Name`"
            )
            raise _refusal(_A_DICT, problem)
    return text


def _in_order(schema: UserValue, keyword: str = "") -> UserValue:
    """Sort keywords, as pydantic does; properties and defaults keep the order in which they are asked for."""
    if is_object(schema):
        if not all(isinstance(key, str) for key in schema):  # pyright: ignore[reportUnnecessaryIsInstance] - users' dicts
            message = "its keys must be texts"
            raise TypeError(message)
        keep = keyword in ("properties", "default", "const")
        keys = list(schema) if keep else sorted(schema)
        return {key: _in_order(schema[key], key) for key in keys}
    if is_list(schema):
        return [_in_order(item) for item in schema]
    return schema


_DATA_KEYWORDS = frozenset({"const", "default", "enum", "examples"})


def _references(schema: UserValue) -> Iterator[str]:
    """Return what a schema refers to, wherever in it."""
    if is_object(schema):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            elif key not in _DATA_KEYWORDS:
                yield from _references(value)
    elif is_list(schema):
        for item in schema:
            yield from _references(item)


def _resolves(schema: dict[str, UserValue], reference: str) -> bool:
    """Whether a reference leads to something in the schema itself, or to a JSON Schema standard."""
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = DRAFT202012.create_resource(schema)
    resolver = REGISTRY.resolver_with_root(resource)
    try:
        resolver.lookup(reference)
    except Unresolvable:
        return "$id" in compact(schema)  # relative to a part with a name of its own: said when used
    return True


def _refusal(name: str, problem: str) -> KitaruUsageError:
    return KitaruUsageError(
        f"`schema` of kitaru.wait is {name}, which cannot be asked for: {problem.rstrip('.')}. {_WAY_OUT}"
    )


def _name(value: object) -> str:
    if isinstance(value, type) and not isinstance(value, types.GenericAlias):
        return value.__qualname__
    try:
        return cut(repr(value), 120)
    except Exception:  # noqa: BLE001 - a user's `__repr__` may raise anything
        return f"an instance of {type(value).__qualname__}"


def _first_line(error: object) -> str:
    return cut(str(error).strip().partition("\n")[0], 200) or type(error).__name__
