"""End what tests have started, and tell at the end what the sweep has survived."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from kitaru.faults import FAULT_POINTS

_told = pytest.StashKey[bool]()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Return a list whose processes end with the test, whatever becomes of it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Properties travel with the reports, so this counts the same when other processes ran the tests.
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    kills = [
        value for report in reports for name, value in report.user_properties if name == "kill"
    ]
    # A conftest above may register this hook too, for when other processes do the collecting.
    if not kills or terminalreporter.config.stash.get(_told, False):
        return
    terminalreporter.config.stash[_told] = True
    scenarios = {scenario for scenario, _ in kills}
    points = {point for _, point in kills if point in FAULT_POINTS}
    is_whole = not any("tests/crash/" in report.nodeid for report in reports if report.failed)
    terminalreporter.write_line(
        f"crash sweep: {len(scenarios)} scenarios x {len(points)} points = {len(kills)} kills,"
        f" {'all recovered' if is_whole else 'but not all recovered'}",
        green=is_whole,
        red=not is_whole,
    )
