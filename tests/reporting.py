"""What a test run says at its end: what held on which kind of store, and what the sweep has survived.

Everything travels with the reports as properties, so that it is the same when other processes ran the tests.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import pytest

from kitaru.faults import FAULT_POINTS
from tests.stores import KINDS

_KIND = "store kind"
# The parameters by which tests get a store of a kind.
_PARAMETERS = ("store_kind", "store", "served_store")
_KILLS = "crash (kills)"
_ROWS = ("engine", "waits", "replay", "workers", "client", "store conformance", _KILLS, "outages")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note which kind of store a test is for."""
    if not isinstance(item, pytest.Function):
        return
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    found = [parameters.get(name) for name in _PARAMETERS]
    item.user_properties += [(_KIND, kind) for kind in KINDS if kind in found]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the table, and the line of the sweep."""
    found = {
        outcome: [
            r for r in terminalreporter.getreports(outcome) if isinstance(r, pytest.TestReport)
        ]
        for outcome in ("passed", "failed", "error")
    }
    passed = [report for report in found["passed"] if report.when == "call"]
    failed = found["failed"] + found["error"]
    _write_table(terminalreporter, passed, failed)
    _write_sweep(terminalreporter, [*passed, *failed])


def _write_table(
    to: pytest.TerminalReporter,
    passed: Sequence[pytest.TestReport],
    failed: Sequence[pytest.TestReport],
) -> None:
    good: collections.Counter[tuple[str, str]] = collections.Counter()
    bad: collections.Counter[tuple[str, str]] = collections.Counter()
    for counts, reports in ((good, passed), (bad, failed)):
        for report in reports:
            row, kinds = _row_of(report.nodeid), _values(report, _KIND)
            if row is None or not kinds:
                continue
            if row != _KILLS or counts is bad:
                counts[row, str(kinds[0])] += 1
    for report in (*passed, *failed):
        for kind, _, _ in _values(report, "kill"):
            good[_KILLS, kind] += 1
    if len({kind for _, kind in (*good, *bad)}) < 2:
        return
    to.write_sep("-", "kinds of store")
    to.write_line("".ljust(20) + "".join(kind.rjust(18) for kind in KINDS))
    for row in _ROWS:
        if not any((row, kind) in counts for kind in KINDS for counts in (good, bad)):
            continue
        cells = [_cell(good[row, kind], bad[row, kind]) for kind in KINDS]
        is_bad = any(bad[row, kind] for kind in KINDS)
        to.write_line(row.ljust(20) + "".join(cell.rjust(18) for cell in cells), red=is_bad)


def _cell(good: int, bad: int) -> str:
    if bad:
        return f"{good}, {bad} failed"
    return str(good) if good else "-"


def _row_of(nodeid: str) -> str | None:
    file = nodeid.partition("::")[0]
    folder, _, name = file.removeprefix("tests/").rpartition("/")
    match folder, name:
        case ("store", _):
            return "store conformance"
        case ("crash" | "engine", "test_waits.py"):
            return "waits"
        case ("crash", "test_outages.py"):
            return "outages"
        case ("crash", _):
            return _KILLS
        case ("engine", "test_replay.py"):
            return "replay"
        case ("engine", _):
            return "engine"
        case ("worker", _):
            return "workers"
        case ("client", _):
            return "client"
        case _:
            return None


def _write_sweep(to: pytest.TerminalReporter, reports: list[pytest.TestReport]) -> None:
    kills = [kill for report in reports for kill in _values(report, "kill")]
    if not kills:
        return
    scenarios = {scenario for _, scenario, _ in kills}
    points = {point for _, _, point in kills if point in FAULT_POINTS}
    is_whole = not any("tests/crash/" in report.nodeid for report in reports if report.failed)
    to.write_line(
        f"crash sweep: {len(scenarios)} scenarios x {len(points)} points = {len(kills)} kills,"
        f" {'all recovered' if is_whole else 'but not all recovered'}",
        green=is_whole,
        red=not is_whole,
    )


def _values(report: pytest.TestReport, wanted: str) -> list[Any]:
    return [value for name, value in report.user_properties if name == wanted]
