"""The pytest plugin: fixtures for flows under test, and options that disturb their runs.

pytest imports this module in every project that has Kitaru installed, so it imports nothing of Kitaru
before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kitaru.client import KitaruClient
    from kitaru.testing.effects import EffectLog

_SWEEP, _REPLAY, _LIMIT = "kitaru_crash_sweep", "kitaru_always_replay", "kitaru_crash_sweep_limit"
_PROPERTY = "kitaru"


@pytest.fixture
def kitaru_store() -> Generator[KitaruClient]:
    """A private, empty store for this test, as `kitaru.testing.memory_store`; a client for it."""
    from kitaru.testing.store import memory_store

    with memory_store() as client:
        yield client


@pytest.fixture
def effects(tmp_path: Path) -> EffectLog:
    """A ledger for fakes of outside services, as `kitaru.testing.EffectLog`, empty."""
    from kitaru.testing.effects import EffectLog

    return EffectLog(tmp_path / "effects.jsonl")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("kitaru", "durable flows")
    group.addoption(
        "--kitaru-crash-sweep",
        action="store_true",
        dest=_SWEEP,
        help="kill each run_flow() at every point of its record, recover it, compare the effects",
    )
    group.addoption(
        "--kitaru-crash-sweep-limit",
        type=_positive,
        dest=_LIMIT,
        metavar="N",
        help="kill each run at N of its points only, evenly spread",
    )
    group.addoption(
        "--kitaru-always-replay",
        action="store_true",
        dest=_REPLAY,
        help="enter each run_flow() from the top after every recorded call, compare what it does",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _is_asked_for(config: pytest.Config) -> bool:
    return bool(config.getoption(_SWEEP) or config.getoption(_REPLAY))


def pytest_configure(config: pytest.Config) -> None:
    """Refuse at once what this system cannot do."""
    if not _is_asked_for(config):
        return
    from kitaru.errors import KitaruError
    from kitaru.testing.forking import check_fork

    try:
        check_fork()
    except KitaruError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Disturb what runs in a test, and keep what came of it with the test's report."""
    if not _is_asked_for(item.config):
        return (yield)
    from kitaru.testing.disturbing import Disturbance, disturb_runs

    disturbance = Disturbance(
        crash_sweep=bool(item.config.getoption(_SWEEP)),
        always_replay=bool(item.config.getoption(_REPLAY)),
        limit=item.config.getoption(_LIMIT),
    )
    disturb_runs(disturbance)
    try:
        return (yield)
    finally:
        disturb_runs(None)
        # As text: it may have to get from a worker to the terminal.
        item.user_properties.append((_PROPERTY, json.dumps(disturbance.reports)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say for each test what its runs went through."""
    if not _is_asked_for(terminalreporter.config):
        return
    lines = [
        line
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for line in _lines_of(report)
    ]
    if lines:
        terminalreporter.section("kitaru")
        for line in sorted(lines):
            terminalreporter.write_line(line)


def _lines_of(report: pytest.TestReport) -> list[str]:
    found = [value for name, value in report.user_properties if name == _PROPERTY]
    trials: list[Mapping[str, Any]] = [t for value in found for t in json.loads(str(value))]
    if not found:
        return []
    if not trials:
        return [f"{report.nodeid}: no run_flow() to disturb"]
    return [f"{report.nodeid}: {_line_of(trial)}" for trial in trials]


def _line_of(trial: Mapping[str, Any]) -> str:
    if trial["trial"] == "crash sweep":
        told = (
            f"{trial['flow']}: {trial['points']} points, {trial['kills']} kills,"
            f" {trial['recovered']} recovered"
        )
    else:
        told = f"{trial['flow']}: entered {trial['entries']} times"
    return told + "".join(f"\n    {problem}" for problem in trial["problems"])
