"""The named statements in `sql/*.sql`, made ready for one database.

A dialect's folder (`sql/sqlite/`) overrides statements of the same name and adds those that exist in every
dialect but share no text. Parameters are `:name` in the files; here they become the driver's positional
mark once, because binding a tuple costs a fraction of binding a mapping.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import aiosql

Row = tuple[Any, ...]
"""What a driver gives and takes: one value per column or parameter."""

_SQL = Path(__file__).with_name("sql")

# Text in quotes and Postgres' casts are matched first, so that a colon in them names no parameter.
_PARAMETER = re.compile(r"'(?:''|[^'])*'|\"[^\"]*\"|::|:(\w+)")

# The row of an INSERT, if it is made of marks alone.
_VALUES = re.compile(r"VALUES\s*(\((?:\s*(?:\?|%s)\s*,?)+\))")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, and how its arguments become the driver's.

    Attributes:
        name: As the file calls it.
        text: With positional marks.
        parameters: In the order in which the file declares them and callers give them.
        arrange: Puts arguments into the order of the marks; None if that is the declared order.
    """

    name: str
    text: str
    parameters: tuple[str, ...]
    arrange: Callable[[Row], Row] | None

    def for_rows(self, count: int) -> str | None:
        """Return the text that does for `count` rows at once what this does for one.

        None if that cannot be told from the text: it has no `VALUES (...)` of parameters alone.
        """
        return _for_rows(self.text, count)


@functools.lru_cache(maxsize=64)
def _for_rows(text: str, count: int) -> str | None:
    if count == 1:
        return text
    found = _VALUES.search(text)
    if found is None:
        return None
    return f"{text[: found.end()]}{(', ' + found[1]) * (count - 1)}{text[found.end() :]}"


@functools.cache
def load_statements(dialect: str, mark: str) -> Mapping[str, Statement]:
    """Return all statements of a dialect by name; read once for each process.

    Args:
        dialect: Folder of the overrides.
        mark: The driver's positional mark, such as `?`.
    """
    return {
        name: compile_statement(name, text, parameters, mark)
        for folder in (_SQL, _SQL / dialect)
        for name, text, parameters in read_folder(folder)
    }


def read_folder(folder: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield name, text and declared parameters of each statement in a folder's files."""
    for file in sorted(folder.glob("*.sql")):
        # Of what aiosql makes, only names and texts are used, so its adapter does not matter.
        queries: Any = aiosql.from_path(  # pyright: ignore[reportUnknownMemberType] - partly annotated
            file, "sqlite3"
        )
        for name in queries.available_queries:
            query = getattr(queries, name)
            # aiosql adds a cursor-returning twin to each query.
            if not name.endswith("_cursor"):
                yield name, query.sql.rstrip().removesuffix(";"), tuple(query.parameters or ())


def compile_statement(name: str, text: str, parameters: tuple[str, ...], mark: str) -> Statement:
    """Return a statement whose `:name` parameters are positional marks."""
    used: list[str] = []

    def replace(match: re.Match[str]) -> str:
        parameter: str | None = match[1]
        if parameter is None:
            return match[0]
        used.append(parameter)
        return mark

    marked = _PARAMETER.sub(replace, text)
    return Statement(name, marked, parameters, _arrangement(parameters, used))


def _arrangement(declared: tuple[str, ...], used: list[str]) -> Callable[[Row], Row] | None:
    if list(declared) == used:
        return None
    places: Mapping[str, int] = {name: place for place, name in enumerate(declared)}
    if len(used) == 1:
        only = places[used[0]]
        return lambda arguments: (arguments[only],)
    return itemgetter(*(places[name] for name in used))
