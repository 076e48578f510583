"""JSON as text: compact, always valid, bounded."""

from __future__ import annotations

import json
import math
from typing import Any, TypeGuard

UserValue = Any
"""A JSON value, and whatever else users hand in."""

ANSWER_LIMIT = 1024 * 1024
"""Answers lie in their row and are read whole by everyone who looks at the wait."""

_SHOWN_CHARACTERS = 80  # of a value in a message: enough to recognise it, and one line


def is_object(value: object) -> TypeGuard[dict[str, UserValue]]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[UserValue]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def compact(value: UserValue) -> str:
    """Return the JSON text of a JSON value, without spaces."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def shown(value: UserValue) -> str:
    """Return a JSON value as it stands in messages: JSON, cut."""
    return cut(json.dumps(value, ensure_ascii=False, default=repr), _SHOWN_CHARACTERS)


def cut(text: str, limit: int) -> str:
    """Return a text of at most so many characters; three dots say that there was more."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def parse(text: str) -> UserValue:
    """Return the JSON value of a text.

    Raises:
        ValueError: It is no JSON, or no JSON that everyone reads alike (infinity, unpaired surrogates).
    """
    import pydantic_core

    try:
        value = pydantic_core.from_json(text, allow_inf_nan=False)
    except TypeError:  # what cannot be written as UTF-8
        message = "it has characters that cannot be stored (unpaired surrogates)"
        raise ValueError(message) from None
    path = find_infinite(value, "answer")
    if path:
        message = f"the number at {path} is too large"
        raise ValueError(message)
    return value


def find_infinite(value: UserValue, path: str) -> str:
    """Return the path of the first number that is infinite or not a number, or an empty text."""
    if isinstance(value, float) and not math.isfinite(value):
        return path
    if is_object(value):
        for key, item in value.items():
            if found := find_infinite(item, f"{path}{step(key)}"):
                return found
    elif is_list(value):
        for index, item in enumerate(value):
            if found := find_infinite(item, f"{path}{step(index)}"):
                return found
    return ""


def step(key: object) -> str:
    """Return a key or an index as it is appended to a path: `.name`, `["first name"]`, `[2]`."""
    if isinstance(key, int):
        return f"[{key}]"
    text = str(key)
    return f".{text}" if text.isidentifier() else f"[{shown(text)}]"
