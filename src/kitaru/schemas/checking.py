"""Answers held against what was asked for: strictly by JSON Schema, then as values of the declared type."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kitaru.errors import KitaruUsageError, KitaruWaitValidationError
from kitaru.schemas.declaring import schema_of, size_problem
from kitaru.schemas.describing import describe, phrase
from kitaru.schemas.texts import UserValue, cut, is_list, is_object, parse, shown, step

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.exceptions import ValidationError
    from pydantic import ValidationError as PydanticValidationError

_SHOWN_PROBLEMS = 3  # the rest tends to follow from them
_PROBLEM_CHARACTERS = 200


def check_answer(schema: str | None, answer: str, *, wait: str, exec_id: str) -> None:
    """Refuse an answer that does not fit, without turning it into anything: `"3"` is no number.

    Args:
        schema: What was asked for, from `schema_of`.
        answer: JSON text.
        wait: What the wait is called by those who answer.
        exec_id: Its execution.

    Raises:
        KitaruWaitValidationError: It is no JSON, too large, or not what the schema says.
    """
    problems = find_problems(schema, answer)
    if problems:
        message = (
            f"the answer to wait {wait!r} of execution {exec_id!r} does not fit: {listed(problems)}. The"
            f" wait stays open; it asks for: {describe(schema)}."
        )
        raise KitaruWaitValidationError(message)


def typed(type_or_schema: UserValue, answer: str) -> object:
    """Return an answer as a value of the declared type; for a JSON Schema or None, as plain JSON values.

    Args:
        type_or_schema: What was declared, as for `schema_of`.
        answer: JSON text.

    Raises:
        KitaruWaitValidationError: It is no JSON, or the type refuses it: its validators may ask for more
            than JSON Schema can say.
    """
    try:
        value = parse(answer)
    except ValueError as error:
        message = f"the answer is no JSON: {error}."
        raise KitaruWaitValidationError(message) from error
    if type_or_schema is None or isinstance(type_or_schema, dict):
        return value

    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[UserValue] = TypeAdapter(type_or_schema)
    try:
        return adapter.validate_json(answer, strict=True)
    except ValidationError as error:
        refusal = error
    # JSON knows fewer types than Python: 3.0 is a whole number there. What fits the schema gets a second
    # chance; anything else would be a conversion that nobody asked for.
    if not find_problems(schema_of(type_or_schema), answer):
        try:
            return adapter.validate_json(answer, strict=False)
        except ValidationError as error:
            refusal = error
    problems = list(dict.fromkeys(_refusals(refusal, value)))
    message = f"the answer was not accepted: {listed(problems)}."
    raise KitaruWaitValidationError(message) from refusal


def find_problems(schema: str | None, answer: str) -> list[str]:
    """Return what is wrong with an answer, in words, each problem with its place; nothing if it fits.

    Args:
        schema: What was asked for, from `schema_of`.
        answer: JSON text.
    """
    too_large = size_problem(len(answer.encode(errors="replace")))
    if too_large:
        return [f"it {too_large}"]
    try:
        value = parse(answer)
    except ValueError as error:
        return [_no_json(schema, answer, str(error))]
    if schema is None and value is None:
        return []
    if schema is None:
        got = shown(value)
        return [
            f"it is a gate, which takes no value, got: {got}. Continue it with null, or abort it"
        ]
    from referencing.exceptions import Unresolvable

    root = json.loads(schema)
    try:
        found = _validator(schema).iter_errors(value)  # pyright: ignore[reportUnknownMemberType] - untyped there
        errors = sorted(found, key=_place)
        return list(dict.fromkeys(line for error in errors for line in _lines(error, root)))
    except Unresolvable as error:
        return [
            f"its schema refers to {error.ref!r}, which is not in it, so no answer can be checked"
        ]
    except RecursionError:
        return ["it or its schema is nested too deeply to be checked"]


def _no_json(schema: str | None, answer: str, problem: str) -> str:
    hint = ""
    quoted = json.dumps(answer)
    if schema is not None and len(quoted) < 100 and not find_problems(schema, quoted):
        hint = f". A text stands in double quotes: {quoted}"
    return f"it is no JSON ({problem.rstrip('.')}){hint}"


def listed(problems: list[str]) -> str:
    """Return problems as one text: the first three of them."""
    more = len(problems) - _SHOWN_PROBLEMS
    rest = f"; and {more} more" if more > 0 else ""
    return "; ".join(problem.rstrip(".") for problem in problems[:_SHOWN_PROBLEMS]) + rest


@functools.lru_cache(maxsize=64)
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from jsonschema_specifications import REGISTRY

    # Without a registry of its own, a validator fetches what a schema refers to from anywhere.
    return Draft202012Validator(
        json.loads(schema), registry=REGISTRY, format_checker=_format_checker()
    )


@functools.cache
def _format_checker() -> FormatChecker:
    from datetime import datetime, time, timedelta

    from jsonschema import FormatChecker
    from pydantic import AnyUrl, TypeAdapter, ValidationError

    checker = FormatChecker()

    def check(name: str, pattern: str, declared: type) -> None:
        # jsonschema leaves these to packages that need not be there. The types would take more than the
        # formats (seconds since the epoch, say), hence the patterns.
        adapter: TypeAdapter[UserValue] = TypeAdapter(declared)
        looks_right = re.compile(pattern).match

        @checker.checks(name, raises=ValidationError)
        def _fits(value: object) -> bool:
            if not isinstance(value, str):
                return True
            if looks_right(value) is None:
                return False
            adapter.validate_python(value)
            return True

    check("date-time", r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", datetime)
    check("time", r"\d\d:\d\d", time)
    check("duration", r"[-+]?P", timedelta)
    check("uri", r"[A-Za-z][A-Za-z0-9+.-]*:", AnyUrl)
    return checker


def _place(error: ValidationError) -> tuple[str, ...]:
    # Indexes as texts of equal length, since keys and indexes cannot be compared.
    return tuple(f"{part:09}" if isinstance(part, int) else part for part in error.absolute_path)


def _lines(error: ValidationError, root: UserValue) -> Iterator[str]:
    """Return one error of jsonschema in our words, or those of the alternative that was meant."""
    path = "answer" + "".join(step(part) for part in error.absolute_path)
    if error.validator in ("anyOf", "oneOf"):
        meant = _meant(error)
        if meant:
            for inner in sorted(meant, key=_place):
                yield from _lines(inner, root)
            return
    yield f"{path}: {cut(_words(error, root), _PROBLEM_CHARACTERS)}"


def _meant(error: ValidationError) -> list[ValidationError]:
    """Return the problems of the one alternative whose type fits, if there is just one."""
    branches: dict[object, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    meant = [
        inners
        for inners in branches.values()
        if not any(
            not inner.path and inner.validator in ("type", "const", "enum") for inner in inners
        )
    ]
    return meant[0] if len(meant) == 1 else []


def _words(error: ValidationError, root: UserValue) -> str:
    schema: UserValue = error.schema
    instance: UserValue = error.instance
    match error.validator:
        case "required":
            missing = [name for name in schema["required"] if name not in instance]
            return f"lacks {', '.join(map(repr, missing))}"
        case "additionalProperties" if error.validator_value is False:
            known = schema.get("properties", {})
            extra = [name for name in instance if name not in known]
            return f"has {', '.join(map(repr, extra))}, which nobody asked for"
        case "type":
            return f"expected {phrase({'type': schema['type']}, root)}, got: {shown(instance)}"
        case "enum" | "const" | "format" | "anyOf" | "oneOf" | "pattern" | "minimum" | "maximum":
            return f"expected {phrase(schema, root)}, got: {shown(instance)}"
        case _:
            return error.message


def _refusals(error: PydanticValidationError, value: UserValue) -> Iterable[str]:
    """Return pydantic's problems without its links, types and names of branches."""
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        words = (
            " ".join(problem["msg"].split())
            .removeprefix("Value error, ")
            .removeprefix("Assertion failed, ")
        )
        missing = problem["type"] == "missing"
        yield f"{_path(problem['loc'], value, missing=missing)}: {cut(words, _PROBLEM_CHARACTERS)}"


def _path(loc: tuple[int | str, ...], value: UserValue, *, missing: bool) -> str:
    path = "answer"
    for number, part in enumerate(loc):
        inside = _inside(value, part)
        if inside is None and not (missing and number == len(loc) - 1):
            continue  # the name of an alternative or a validator, which is in no answer
        value = value if inside is None else inside[0]
        path += step(part)
    return path


def _inside(value: UserValue, part: int | str) -> tuple[UserValue] | None:
    """Return what is at a key or an index, if there is something."""
    if is_object(value) and isinstance(part, str) and part in value:
        return (value[part],)
    if is_list(value) and isinstance(part, int) and part < len(value):
        return (value[part],)
    return None


def shaped_like(example: object, value: object) -> object:
    """Return a value made of what JSON has as the type that `example` has, where that makes sense.

    A dict becomes the model or dataclass that the example is, a text a moment, and so on. What has a type
    of its own, or cannot be converted, stays as it is, except for a dict that cannot be a model.

    Raises:
        KitaruUsageError: A dict was given for an object of a class, and does not fit it.
    """
    import pydantic

    if type(value) not in _JSON_TYPES or type(example) in (*_JSON_TYPES, bool, type(None)):
        return value
    try:
        adapter = pydantic.TypeAdapter[object](type(example))
    except pydantic.errors.PydanticUserError:
        return value  # a class that pydantic knows nothing of
    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        if not isinstance(value, dict):
            return value
        problems = listed([f"{problem['loc']}: {problem['msg']}" for problem in error.errors()])
        name = type(example).__name__
        message = f"a dict cannot stand for {name}, which it is to replace: {problems}"
        raise KitaruUsageError(message) from error


_JSON_TYPES = (dict, list, str, int, float)
