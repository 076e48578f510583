"""What a terminal needs to know of a JSON Schema to ask for an answer piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from kitaru.schemas.describing import alternatives, resolved, without_null
from kitaru.schemas.texts import UserValue, compact, is_list


class FormKind(StrEnum):
    """How an answer is best asked for."""

    GATE = "gate"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    OBJECT = "object"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One property of an object that is asked for.

    Attributes:
        name: Its key.
        schema: JSON Schema of its value, complete in itself.
        required: Whether the object is refused without it.
        default: JSON text of what it is if it is left out, if the schema says so.
        description: What its author says about it.
    """

    name: str
    schema: str
    required: bool
    default: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How to ask for an answer.

    Attributes:
        kind: With what kind of question.
        nullable: Whether null is an answer, too.
        choices: JSON texts of what can be chosen.
        fields: What an object is asked for, in declared order.
    """

    kind: FormKind
    nullable: bool = False
    choices: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()


_KINDS = {
    "boolean": FormKind.BOOLEAN,
    "string": FormKind.TEXT,
    "integer": FormKind.INTEGER,
    "number": FormKind.NUMBER,
}


def form_of(schema: str | None) -> Form:
    """Return how to ask for an answer; whatever has no better form is asked for as JSON."""
    if schema is None:
        return Form(kind=FormKind.GATE, nullable=True)
    root = json.loads(schema)
    rest, nullable = without_null(root, root)
    parts = resolved(rest, root)
    choices = _choices(parts, root)
    if choices:
        texts = tuple(compact(choice) for choice in choices if choice is not None)
        return Form(kind=FormKind.CHOICE, choices=texts, nullable=nullable or None in choices)
    kind = parts.get("type")
    if kind == "object" and parts.get("properties"):
        return Form(kind=FormKind.OBJECT, nullable=nullable, fields=tuple(_fields(parts, root)))
    if isinstance(kind, str) and kind in _KINDS:
        return Form(kind=_KINDS[kind], nullable=nullable)
    return Form(kind=FormKind.JSON, nullable=nullable or rest in (True, {}))


def fields(schema: str | None) -> tuple[Field, ...]:
    """Return what an object is asked for, in declared order; nothing if it is no object with properties."""
    return form_of(schema).fields


def _fields(parts: dict[str, UserValue], root: UserValue) -> Iterator[Field]:
    required = parts.get("required", [])
    for name, schema in parts["properties"].items():
        about = resolved(schema, root)
        description = about.get("description")
        yield Field(
            name=name,
            schema=compact(_alone(schema, root)),
            required=name in required,
            default=compact(about["default"]) if "default" in about else None,
            description=description if isinstance(description, str) else None,
        )


def _alone(schema: UserValue, root: UserValue) -> UserValue:
    """Return a part of a schema together with what it may refer to."""
    text = compact(schema)
    if '"$ref"' not in text:
        return schema
    shelves = {key: root[key] for key in ("$defs", "definitions") if key in root}
    if any(f'"#/{key}/' in text for key in shelves):
        return {**schema, **shelves}
    # It refers to a part of the whole that cannot be taken along: only the whole answer can be checked.
    return {}


def _choices(parts: dict[str, UserValue], root: UserValue) -> list[UserValue]:
    """Return the values of which one must be given; none if there are other answers."""
    if "const" in parts:
        return [parts["const"]]
    if is_list(parts.get("enum")):
        return list(parts["enum"])
    branches = alternatives(parts)
    if len(branches) < 2:
        return []
    found: list[UserValue] = []
    for branch in branches:
        inner = resolved(branch, root)
        values = [inner["const"]] if "const" in inner else inner.get("enum")
        if not is_list(values):
            return []
        found.extend(values)
    return found
