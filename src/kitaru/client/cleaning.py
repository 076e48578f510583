"""Removing what an embedded store has kept; configuration stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kitaru import settings
from kitaru.clock import SYSTEM_CLOCK
from kitaru.errors import KitaruBackendError, KitaruNotFoundError, KitaruStateError
from kitaru.settings_rules import sqlite_url

Scope = Literal["project", "global", "all"]

_DATABASE = "kitaru.db"
_KEPT = (_DATABASE, f"{_DATABASE}-wal", f"{_DATABASE}-shm", "blobs")
_SHOWN = 100  # nobody reads more


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What would be removed.

    Attributes:
        paths: Files and folders that exist.
        total_bytes: How much they take.
        unfinished: Ids of executions that could still be continued, of any project; the oldest.
    """

    paths: tuple[Path, ...]
    total_bytes: int
    unfinished: tuple[str, ...] = ()


def plan_removal(scope: Scope) -> Removal:
    """Return what cleaning would remove: of the project here, of the user, or both.

    Raises:
        KitaruNotFoundError: `scope` is `project`, and there is none here.
        KitaruStateError: An execution is running there.
    """
    folders = list(_folders(scope))
    unfinished = tuple(exec_id for folder in folders for exec_id in _unfinished(folder))
    paths = tuple(folder / name for folder in folders for name in _KEPT if (folder / name).exists())
    return Removal(
        paths=paths, total_bytes=sum(_size(path) for path in paths), unfinished=unfinished
    )


def refuse_unfinished(removal: Removal) -> None:
    """Refuse a removal that would take executions with it that can still be continued.

    Raises:
        KitaruStateError: There are some.
    """
    if not removal.unfinished:
        return
    first, *others = removal.unfinished
    are = f"{first!r} and {len(others)} more are" if others else f"{first!r} is"
    message = (
        f"execution{'s' if others else ''} {are} not over and could still be continued."
        f" `kitaru executions recover` does so, `kitaru executions cancel {first}` ends it,"
        f" and `--force` discards what is not over."
    )
    raise KitaruStateError(message)


def remove(removal: Removal) -> None:
    """Remove what `plan_removal` has listed; what is gone already is fine.

    Durability: not atomic. A crash in between leaves some of the files; cleaning again removes them.
    """
    for path in removal.paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _folders(scope: Scope) -> Iterator[Path]:
    project = settings.find_project()
    if scope == "project" and project is None:
        message = "no Kitaru project here or above. `kitaru init` makes one."
        raise KitaruNotFoundError(message)
    if scope != "global" and project is not None:
        yield project
    if scope != "project":
        yield settings.user_dir()


def _unfinished(folder: Path) -> list[str]:
    """Return the executions that would be lost; refuse if one of them is running now."""
    database = folder / _DATABASE
    if not database.is_file():
        return []
    from kitaru import worker
    from kitaru.store import open_store

    store = open_store(sqlite_url(database), at_once=False)
    try:
        now = SYSTEM_CLOCK.now()
        # A lease that has run out belongs to a process that is gone.
        running = [row.id for row in store.list_running() if (row.lease_expires_at or 0) > now]
        workers = worker.list_present(store, now=now)
        unfinished = [row.id for row in store.list_unfinished(limit=_SHOWN)]
    except KitaruBackendError:
        if store.verify():
            return []  # damaged; to remove it may be what is wanted
        raise
    finally:
        store.close()
    if workers:
        message = (
            f"worker {workers[0].pid} uses the store in '{folder}'. Stop it first: it would go on with files"
            f" that are gone."
        )
        raise KitaruStateError(message)
    if running:
        message = (
            f"execution {running[0]!r} is running in '{folder}'"
            f"{f' and {len(running) - 1} more' if len(running) > 1 else ''}."
            f" Wait for it, or `kitaru executions cancel {running[0]}`."
        )
        raise KitaruStateError(message)
    return unfinished


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
