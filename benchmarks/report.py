"""The table, and what it was measured on."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from benchmarks.measuring import DBOS, KITARU, LANGGRAPH, Bench, Figure, Row, Unit

_PACKAGES = (
    "kitaru",
    "msgspec",
    "psycopg",
    "uvicorn",
    "dbos",
    "langgraph",
    "langgraph-checkpoint-sqlite",
)
_TITLES = ("", "Work", "Limit", "Target", "Kitaru", "Spread", "Met", "LangGraph", "DBOS")
_VERDICTS = {True: "yes", False: "**no**", None: ""}


def table(rows: Iterable[Row], bench: Bench) -> str:
    """Return the rows as a Markdown table whose columns line up."""
    lines = [_TITLES, *(_cells(row, bench) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    drawn = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    drawn.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(drawn) + "\n"


def page(rows: Iterable[Row], bench: Bench, load: float) -> str:
    """Return the whole page of results."""
    lines = "\n".join(f"- {line}" for line in _circumstances(bench, load))
    return (
        "# Results\n\n"
        "Written by `make bench`; [what the figures mean](../docs/performance.md).\n\n"
        f"{lines}\n\n"
        f"{table(rows, bench)}\n"
        "Limit: the same durable commit made by hand; for start-up, `python -c pass`; for growth, the"
        " case with least. `x`: times\nthe limit of the same round, median over the rounds; spread:"
        " least and most over the rounds.\n"
    )


def _circumstances(bench: Bench, load: float) -> list[str]:
    versions = [f"{name} {_version(name)}" for name in _PACKAGES]
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {bench.size.rounds} rounds",
        f"{_cpu()}, {psutil.cpu_count()} cores,"
        f" {psutil.virtual_memory().total / 2**30:.0f} GiB; {platform.system()}"
        f" {platform.release()}, {platform.machine()}, file system {file_system(bench.directory)};"
        f" load {load:.1f} at the start",
        f"{platform.python_implementation()} {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}"
        + (f", Postgres {bench.postgres.version()}" if bench.has_started_postgres else ""),
        ", ".join(versions),
    ]


def file_system(directory: Path) -> str:
    """Return the type of the file system that a directory lies on."""
    device = directory.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next(
        (mounts[place] for place in (device, *device.parents) if place in mounts), "unknown"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        if package != "kitaru":
            return "not installed"
    import kitaru

    return kitaru.__version__


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _cells(row: Row, bench: Bench) -> tuple[str, ...]:
    kitaru = row.figures[KITARU]
    return (
        row.number,
        row.work,
        _amount(row.limit.median, row.unit) if row.limit else "",
        _target(row),
        _figure(kitaru, row.unit),
        _spread(kitaru, row.unit),
        _VERDICTS[row.is_met],
        *(_other(row, name, bench) for name in (LANGGRAPH, DBOS)),
    )


def _other(row: Row, name: str, bench: Bench) -> str:
    if name in row.figures:
        return _figure(row.figures[name], row.unit)
    return "" if bench.is_installed(name) else "not installed"


def _target(row: Row) -> str:
    if row.at_least is not None:
        return f"≥ {_amount(row.at_least, row.unit)}"
    if row.at_most is None:
        return ""
    if row.figures[KITARU].ratio is not None:
        return f"≤ {row.at_most:g}x"
    return f"{'all ' if row.is_slowest else ''}≤ {_amount(row.at_most, row.unit)}"


def _figure(figure: Figure, unit: Unit) -> str:
    shown = _amount(figure.median, unit)
    return shown if figure.ratio is None else f"{shown}, {figure.ratio:.2f}x"


def _spread(figure: Figure, unit: Unit) -> str:
    if figure.limits:
        ratios = [mine / limit for mine, limit in zip(figure.seconds, figure.limits, strict=True)]
        return f"{min(ratios):.2f} - {max(ratios):.2f}x"
    return f"{_amount(min(figure.seconds), unit)} - {_amount(max(figure.seconds), unit)}"


def _amount(number: float, unit: Unit) -> str:
    match unit:
        case Unit.SECONDS:
            return _duration(number)
        case Unit.PER_SECOND:
            return f"{number:,.0f}/s"
        case Unit.BYTES:
            return _size(number)
        case Unit.COUNT:
            return f"{number:g}"


def _duration(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        milliseconds = seconds * 1e3
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    return f"{seconds:.2f} s"


def _size(number: float) -> str:
    if number < 2**10:
        return f"{number:.0f} B"
    if number < 2**20:
        return f"{number / 2**10:.1f} KiB"
    return f"{number / 2**20:.0f} MiB"
