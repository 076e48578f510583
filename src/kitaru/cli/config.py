"""`kitaru config`: look at the configuration."""

from __future__ import annotations

from typing import Any, cast

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_items, print_note, print_text, table
from kitaru.client import shapes


def show(*, output: OutputFormat = "text") -> None:
    """Show each setting and where it is from."""
    rows = setting_rows()
    if output == "json":
        print_items("config.show", rows)
    else:
        cells = [(row["name"], _text(row["value"]), row["source"]) for row in rows]
        print_text(table("Kitaru settings", ("Name", "Value", "From"), cells))
    for name, hint in settings.unknown_variables().items():
        print_note(f"Warning: {name} is set but means nothing to Kitaru.{hint}")


def setting_rows() -> list[dict[str, Any]]:
    """Return every setting with its value, its source and its variable; nothing secret."""
    current = settings.current()
    return [
        {
            "name": name,
            "value": _shown(name, getattr(current, name)),
            "source": current.sources[name],
            "variable": variable,
        }
        for name, variable in settings.VARIABLES.items()
    ]


def _shown(name: str, value: object) -> Any:
    if isinstance(value, tuple):
        value = " | ".join(map(str, cast("tuple[object, ...]", value))) or None
    text = str(value) if not isinstance(value, bool | int | float | None) else value
    return shapes.plain(settings.shown(name, text))


def _text(value: object) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
