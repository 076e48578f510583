"""What the processes and files of a soak take, from time to time, and whether it grows."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from soak.book import SAMPLES, Book, Line
from soak.fleet import ATTENDANT, PERSON, SPARED_WORKER, Fleet

_MIB = 1024 * 1024
_SURVIVORS = (SPARED_WORKER, ATTENDANT, PERSON)

# Before that, processes are still taking what they keep; shorter runs are shown but not judged.
_WARM_UP_SECONDS = 40.0
_JUDGED_SECONDS = 150.0

# By which factor, and by how much on top, the last third may be above the first.
_ALLOWED: Mapping[str, tuple[float, float]] = {
    "memory": (1.25, 8 * _MIB),
    "threads": (1.25, 4),
    "files": (1.25, 4),
    "database": (1.35, 2 * _MIB),
    "log": (1.5, 8 * _MIB),
    "blobs": (1.35, 4 * _MIB),
}


def sample(book: Book, fleet: Fleet, config: Path) -> None:
    """Note what everyone takes now."""
    figures: dict[str, float] = dict(_process("driver", os.getpid()))
    for number, member in enumerate(fleet.members):
        if member.role in _SURVIVORS:
            name = f"{member.role} {number}" if member.role == PERSON else member.role
            with contextlib.suppress(psutil.NoSuchProcess):
                figures.update(_process(name, member.process.pid))
    database = config / "kitaru.db"
    if database.exists():
        figures["store: database"] = database.stat().st_size
        figures["store: log"] = _size(config / "kitaru.db-wal")
        figures["store: blobs"] = sum(map(_size, (config / "blobs").rglob("*")))
        figures["store: executions"], figures["store: free"] = _rows(database)
    book.add(SAMPLES, figures=figures, owners=_owners(database) if database.exists() else [])


def growth(samples: Sequence[Line]) -> Iterator[tuple[str, float, float, bool | None]]:
    """Return name, median of the first third, of the last, and whether that is fine; None if unjudged."""
    if not samples:
        return
    began, ended = samples[0]["at"], samples[-1]["at"]
    is_long = ended - began >= _JUDGED_SECONDS * 1e6
    warm = [s for s in samples if s["at"] - began >= _WARM_UP_SECONDS * 1e6] if is_long else samples
    third = max(1, len(warm) // 3)
    for name in sorted({name for line in warm for name in line["figures"]}):
        first, last = _median(warm[:third], name), _median(warm[-third:], name)
        if first is None or last is None:
            continue
        what = name.partition(": ")[2]
        is_judged = is_long and what in _ALLOWED
        factor, more = _ALLOWED.get(what, (1.0, 0.0))
        yield name, first, last, last <= first * factor + more if is_judged else None


def _median(lines: Sequence[Line], name: str) -> float | None:
    found = [line["figures"][name] for line in lines if name in line["figures"]]
    return statistics.median(found) if found else None


def _process(name: str, pid: int) -> Iterator[tuple[str, float]]:
    process = psutil.Process(pid)
    yield f"{name}: memory", process.memory_info().rss
    yield f"{name}: threads", process.num_threads()
    yield f"{name}: files", process.num_fds()


def _rows(database: Path) -> tuple[int, int]:
    with contextlib.closing(_open(database)) as connection:
        [executions] = connection.execute("SELECT count(*) FROM execution").fetchone()
        [free] = connection.execute("PRAGMA freelist_count").fetchone()
        [page] = connection.execute("PRAGMA page_size").fetchone()
        return executions, free * page


def _owners(database: Path) -> list[str]:
    """Return which workers have announced themselves."""
    with contextlib.closing(_open(database)) as connection:
        return [owner for (owner,) in connection.execute("SELECT owner FROM worker")]


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0
