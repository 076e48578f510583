"""Spans and texts as they stand in sentences."""

from __future__ import annotations

from kitaru.clock import MICROSECONDS

_CHARACTERS = 200


def span(microseconds: int) -> str:
    """Return how long something takes, in the largest unit that says enough: `12 s`, `3 h`, `5 days`."""
    seconds = max(microseconds, 0) // MICROSECONDS
    if seconds < 60:
        return f"{seconds} s" if seconds else "less than 1 s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"


def since(moment: int, now: int) -> str:
    """Return how long ago a moment was; one that another machine's clock has ahead is now."""
    return span(now - moment)


def one_line(text: str, limit: int = _CHARACTERS) -> str:
    """Return a text of users as one line without control characters, cut.

    Only as much of it is looked at as can be shown, for it may be long.
    """
    head = text[: 4 * limit]
    plain = "".join(character if character.isprintable() else " " for character in head)
    line = " ".join(plain.split())
    is_whole = len(line) <= limit and len(head) == len(text)
    return line if is_whole else f"{line[: limit - 1]}…"
