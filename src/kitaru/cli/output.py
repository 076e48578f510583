"""What commands print: one JSON line on stdout, or text; everything else goes to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from cyclopts import Parameter

OutputFormat = Annotated[
    Literal["text", "json"],
    Parameter(name=["--output", "-o"], help="Text for people, or one line of JSON."),
]


def print_item(command: str, item: Mapping[str, Any]) -> None:
    """Print one thing as JSON."""
    _print_json({"command": command, "item": item})


def print_items(
    command: str, items: Sequence[Mapping[str, Any]], *, count: int | None = None
) -> None:
    """Print several things as JSON; `count` is how many were returned, or the given number."""
    _print_json(
        {"command": command, "items": items, "count": len(items) if count is None else count}
    )


def print_text(text: str = "") -> None:
    """Print text on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_note(text: str) -> None:
    """Print a remark on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_error(command: str, kind: str, message: str, *, as_json: bool) -> None:
    """Print an error on stderr, as JSON or as text."""
    if as_json:
        error = {"command": command, "error": {"type": kind, "message": message}}
        print_note(json.dumps(error, ensure_ascii=False))
    else:
        print_note(f"Error: {message}")


def _print_json(line: Mapping[str, Any]) -> None:
    print_text(json.dumps(line, ensure_ascii=_is_not_unicode()))


def _is_not_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"


def is_terminal() -> bool:
    """Whether people look at stdout."""
    return sys.stdout.isatty()


def snapshot(title: str, facts: Mapping[str, object]) -> str:
    """Return a title and facts below it, one a line."""
    return "\n".join([title, *(f"  {label}: {value}" for label, value in facts.items())])


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a title and aligned columns below it."""
    if not rows:
        return f"{title}: none found"
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        [
            title,
            *(
                "  "
                + "   ".join(
                    cell.ljust(width) for cell, width in zip(line, widths, strict=True)
                ).rstrip()
                for line in lines
            ),
        ]
    )


def moment_text(moment: datetime | None) -> str:
    """Return a moment for people, in UTC."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def span_text(span: timedelta | None) -> str:
    """Return how long something took, for people."""
    if span is None:
        return ""
    seconds = span.total_seconds()
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"


def size_text(size: int) -> str:
    """Return a number of bytes for people."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
