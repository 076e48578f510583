"""JSON Schema in words: what an answer should be, for people who never saw the type.

Only the schema itself is looked at; what has no short name is shown as the JSON it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import unquote

from kitaru.schemas.texts import UserValue, compact, cut, is_list, is_object, shown

_FALLBACK_CHARACTERS = 200
_PHRASE_CHARACTERS = 400
_SHOWN_CHOICES = 12
_DEPTH = 2  # objects within objects; below, their names must do
_HOPS = 20  # references to references; more are a circle

_FORMATS = {
    "date-time": "a date and time (2026-01-31T09:30:00Z)",
    "date": "a date (2026-01-31)",
    "time": "a time (09:30:00)",
    "duration": "a duration (PT1H30M)",
    "uuid": "a UUID",
    "email": "an email address",
    "uri": "a URL",
    "path": "a path",
}
_PLURALS = {
    "text": "texts",
    "a whole number": "whole numbers",
    "a number": "numbers",
    "any JSON value": "any JSON values",
}


def describe(schema: str | None) -> str:
    """Return in a few words what is asked for, such as `yes or no` or `one of 'a', 'b'`."""
    if schema is None:
        return "continue or abort"
    root = json.loads(schema)
    return phrase(root, root)


def phrase(schema: UserValue, root: UserValue) -> str:
    """Return in a few words what a part of a schema asks for.

    Args:
        schema: The part.
        root: The whole, in which references are looked up.
    """
    words = _phrase(schema, root, 0)
    return (
        cut(compact(schema), _FALLBACK_CHARACTERS)
        if words is None
        else cut(words, _PHRASE_CHARACTERS)
    )


def resolved(schema: UserValue, root: UserValue) -> dict[str, UserValue]:
    """Return a part of a schema with the reference at its top replaced by what it refers to."""
    current: UserValue = schema
    for _ in range(_HOPS):
        if not is_object(current):
            break
        parts = dict(current)
        if isinstance(parts.get("$ref"), str):
            target = _at(root, parts.pop("$ref"))
        elif is_list(parts.get("allOf")) and len(parts["allOf"]) == 1:
            target = parts.pop("allOf")[0]
        else:
            return parts
        # What stands beside a reference says more about it: a default, a description.
        current = {**target, **parts} if is_object(target) else parts
    return {}


def alternatives(schema: Mapping[str, UserValue]) -> list[UserValue]:
    """Return the schemas of which one must fit; the schema itself if it has no such list."""
    for keyword in ("anyOf", "oneOf"):
        branches = schema.get(keyword)
        if is_list(branches) and branches:
            return branches
    kinds = schema.get("type")
    if is_list(kinds):
        return [{**schema, "type": kind} for kind in kinds]
    return [schema]


def without_null(schema: UserValue, root: UserValue) -> tuple[UserValue, bool]:
    """Return a schema without the alternative of null, and whether it had it."""
    whole = resolved(schema, root)
    branches = alternatives(whole)
    rest = [branch for branch in branches if resolved(branch, root).get("type") != "null"]
    if len(rest) == len(branches) or not rest:
        return schema, False
    if len(rest) > 1:
        return {"anyOf": rest}, True
    return rest[0], True


def _at(root: UserValue, reference: str) -> UserValue:
    if not reference.startswith("#"):
        return None
    found: UserValue = root
    for part in unquote(reference[1:]).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if is_object(found) else None
    return found


def _phrase(schema: UserValue, root: UserValue, depth: int) -> str | None:
    """Return the words for a part of a schema, or None if there are none."""
    if schema is True or schema == {}:
        return "any JSON value"
    parts = resolved(schema, root)
    if "const" in parts:
        return _quoted(parts["const"])
    if is_list(parts.get("enum")):
        return _choices(parts["enum"])
    branches = alternatives(parts)
    if branches != [parts]:
        words = [_phrase(branch, root, depth) for branch in branches]
        known = [word for word in words if word is not None]
        return " or ".join(dict.fromkeys(known)) if len(known) == len(words) else None
    return _phrase_of_type(parts, root, depth)


def _phrase_of_type(parts: dict[str, UserValue], root: UserValue, depth: int) -> str | None:
    match parts.get("type"):
        case "boolean":
            return "yes or no"
        case "null":
            return "null"
        case "string":
            return _text(parts)
        case "integer":
            return f"a whole number{_range(parts)}"
        case "number":
            return f"a number{_range(parts)}"
        case "array":
            return _list(parts, root, depth)
        case "object":
            return _object(parts, root, depth)
        case _:
            # Comments alone do not narrow anything down.
            return "any JSON value" if parts.keys() <= {"title", "description", "default"} else None


def _text(parts: Mapping[str, UserValue]) -> str:
    words = _FORMATS.get(str(parts.get("format")), "text")
    least, most = parts.get("minLength"), parts.get("maxLength")
    if most is not None:
        words += f" of {least} to {most} characters" if least else f" of at most {most} characters"
    elif least:
        words += " that is not empty" if least == 1 else f" of at least {least} characters"
    if "pattern" in parts:
        words += f" matching {parts['pattern']}"
    return words


def _range(parts: Mapping[str, UserValue]) -> str:
    if "minimum" in parts and "maximum" in parts:
        return f" from {parts['minimum']} to {parts['maximum']}"
    words = [
        f"{word} {parts[keyword]}"
        for keyword, word in (
            ("minimum", "of at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "of at most"),
            ("exclusiveMaximum", "below"),
        )
        if keyword in parts
    ]
    return f" {' and '.join(words)}" if words else ""


def _list(parts: Mapping[str, UserValue], root: UserValue, depth: int) -> str | None:
    first = parts.get("prefixItems")
    if is_list(first) and first:
        words = [_phrase(item, root, depth + 1) or "a JSON value" for item in first]
        return f"a list of {len(words)}: {', '.join(words)}"
    if not parts.get("items"):
        return "a list"
    item = _phrase(parts["items"], root, depth + 1)
    if item is None:
        return None
    return f"a list of {_PLURALS[item]}" if item in _PLURALS else f"a list, each item {item}"


def _object(parts: Mapping[str, UserValue], root: UserValue, depth: int) -> str | None:
    title = str(parts.get("title") or "an object")
    properties = parts.get("properties")
    if is_object(properties) and properties:
        if depth >= _DEPTH:
            return title
        required = parts.get("required", [])
        words = [
            _property(name, value, root, depth + 1, is_required=name in required)
            for name, value in properties.items()
        ]
        return f"{title} ({', '.join(words)})"
    others = parts.get("additionalProperties")
    if is_object(others) and others:
        item = _phrase(others, root, depth + 1)
        return f"{title}, each value {item}" if item is not None else None
    return title


def _property(
    name: str, schema: UserValue, root: UserValue, depth: int, *, is_required: bool
) -> str:
    if not is_required:
        schema, _ = without_null(schema, root)
    words = _phrase(schema, root, depth) or "JSON"
    return f"{name}: {words}" if is_required else f"{name}: {words}, optional"


def _choices(values: list[UserValue]) -> str:
    if len(values) == 1:
        return _quoted(values[0])
    words = [_quoted(value) for value in values[:_SHOWN_CHOICES]]
    more = f" and {len(values) - _SHOWN_CHOICES} more" if len(values) > _SHOWN_CHOICES else ""
    return f"one of {', '.join(words)}{more}"


def _quoted(value: UserValue) -> str:
    return f"'{value}'" if isinstance(value, str) else shown(value)
