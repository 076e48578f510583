"""Bringing a database's schema to what this version of Kitaru knows, forward only.

Migrations are `NNNN_what.sql`, the same numbers and names for every database. Each runs whole in one
transaction together with its row in `kitaru_migration`. That row is inserted first: of two processes that
open a fresh file at once, the second one fails at its primary key instead of at half of the schema.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kitaru.errors import KitaruBackendError

_FOLDER = Path(__file__).with_name("sql") / "migrations"
_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

Applied = tuple[int, str, str]
"""Number, name and checksum of a migration that a database has had."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    Attributes:
        number: Counts from 1 without gaps.
        name: What it does, such as `create_tables`.
        script: Its statements.
        checksum: Of its statements, so that an edited migration is noticed.
    """

    number: int
    name: str
    script: str
    checksum: str


@cache
def known_migrations(dialect: str) -> tuple[Migration, ...]:
    """Return the migrations that this version knows, in order."""
    return read_migrations(_FOLDER / dialect)


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Return the migrations in a folder, in order.

    Raises:
        ValueError: A file's name is not `NNNN_what.sql`, or the numbers have a gap.
    """
    found: list[Migration] = []
    for expected, file in enumerate(sorted(folder.glob("*.sql")), start=1):
        match = _FILE_NAME.fullmatch(file.name)
        if match is None or int(match[1]) != expected:
            message = (
                f"expected migration {expected} to be named '{expected:04}_what.sql': {file.name!r}"
            )
            raise ValueError(message)
        script = file.read_text(encoding="utf-8")
        checksum = hashlib.sha256(script.encode()).hexdigest()
        found.append(Migration(expected, match[2], script, checksum))
    return tuple(found)


def missing_migrations(
    applied: Sequence[Applied], known: Sequence[Migration], where: str
) -> Sequence[Migration]:
    """Return the migrations that a database still needs, in order.

    Args:
        applied: Those that it has had.
        known: Those that this version knows.
        where: Names the database in errors.

    Raises:
        KitaruBackendError: The database was written by a newer version, or its history is not ours.
    """
    newest = max((number for number, _, _ in applied), default=0)
    if newest > len(known):
        message = (
            f"the store {where!r} has schema version {newest}, but this Kitaru knows versions up to"
            f" {len(known)}. Nothing was changed. Install the Kitaru that last opened it, or a newer one"
            f" (`pip install --upgrade kitaru`), or use another store."
        )
        raise KitaruBackendError(message)
    differing = find_differences(applied, known)
    if differing:
        message = (
            f"the schema of the store {where!r} has a history that this Kitaru does not know:"
            f" {'; '.join(differing)}. Nothing was changed. Restore the store from a backup, or install"
            f" the Kitaru that created it."
        )
        raise KitaruBackendError(message)
    return known[newest:]


def find_differences(applied: Sequence[Applied], known: Sequence[Migration]) -> list[str]:
    """Return how a database's migrations differ from those that this version knows."""
    by_number = {number: (name, checksum) for number, name, checksum in applied}
    newest = max(by_number, default=0)
    differing: list[str] = []
    for migration in known[:newest]:
        had = by_number.get(migration.number)
        if had is None:
            differing.append(f"migration {migration.number} ({migration.name}) was never applied")
        elif had != (migration.name, migration.checksum):
            differing.append(
                f"migration {migration.number} ({migration.name}) was another one when it was applied"
            )
    return differing
