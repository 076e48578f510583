"""The test that the product stands on: die anywhere, recover, and lose or repeat nothing.

Every scenario is killed with SIGKILL at every fault point that it comes by, most often the first time, in
the middle and the last time, and continued by another process. Which points a scenario comes by is counted,
not listed.
"""

from __future__ import annotations

import collections
import fcntl
import functools
import os
import pickle
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kitaru.faults import FAULT_POINTS
from tests.crash.sweep import (
    CONTINUE,
    KILLED,
    PATIENCE_SECONDS,
    SCENARIOS,
    Case,
    Clean,
    Ended,
    State,
    check_unharmed,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Record = Callable[[str, object], None]
Cleans = Callable[[str], Clean]

NOTHING = State([], {}, {}, {})
# Whether several threads meet in one commit is decided by their timing, even where it is all but certain.
BY_CHANCE = {"commit.group"}
TRIES = 6


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Cleans:
    """Return how a scenario goes undisturbed; found out once for all test processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    @functools.cache
    def find(scenario: str) -> Clean:
        kept = folder / f"clean-{scenario}"
        with (folder / f"clean-{scenario}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                found = _play_undisturbed(scenario, folder / f"undisturbed-{scenario}")
                kept.write_bytes(pickle.dumps(found))
        return pickle.loads(kept.read_bytes())

    return find


def _play_undisturbed(scenario: str, folder: Path) -> Clean:
    case = _case(folder / "clean", scenario)
    ended = case.run()
    assert ended.status == 0, ended.output
    effects = collections.Counter(effect.identity for effect in case.effects())
    recovered = _case(folder / "recovered", scenario)
    middle = (case.visits(ended)["call.after_body"] + 1) // 2
    died = recovered.run(at=("call.after_body", middle))
    assert died.status == KILLED, died.output
    return Clean(
        visits=case.visits(ended),
        results=case.results(),
        effects=effects,
        questions=case.state().questions(),
        recovery_visits=recovered.visits(_recover(recovered)),
    )


def _case(folder: Path, scenario: str) -> Case:
    folder.mkdir(parents=True)
    return Case(folder, scenario)


def _recover(case: Case) -> Ended:
    ended = case.run(CONTINUE)
    assert ended.status == 0, ended.output
    return ended


def _kill(folder: Path, scenario: str, point: str, occurrence: int) -> Case | None:
    """Return a case whose process died at a point; None if chance never led it there."""
    for number in range(TRIES):
        case = _case(folder / f"{point}-{occurrence}-{number}", scenario)
        ended = case.run(at=(point, max(1, occurrence - number)))
        if ended.status == KILLED:
            return case
        # Concurrent calls share commits, so a late visit may not come about this time.
        assert ended.status == 0, f"neither killed nor well: {ended.status}\n{ended.output}"
    return None


def _then(case: Case, point: str) -> tuple[State, int]:
    # Looking would create the tables, which is for the recovering process to do.
    state = NOTHING if point.startswith("migration.") else case.state()
    return state, len(case.effects())


# What has happened by then is the same whatever comes after it, so that some scenarios stand for all.
BEFORE_ANYTHING = {point for point in FAULT_POINTS if point.startswith("migration.")} | {
    "execution.before_create"
}
BEGINNERS = {"sequential", "gather", "child_flow", "asks"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_run_killed_at_any_fault_point_is_recovered_without_loss_or_repetition(
    scenario: str, clean: Cleans, tmp_path: Path, record_property: Record
) -> None:
    expected = clean(scenario)
    failures: list[str] = []

    for point in FAULT_POINTS:
        if point in BEFORE_ANYTHING and scenario not in BEGINNERS:
            continue
        for occurrence in expected.strikes(point):
            try:
                case = _kill(tmp_path, scenario, point, occurrence)
                if case is None:
                    assert point in BY_CHANCE, "not reached, although it was without a kill"
                    continue
                before = [_then(case, point)]
                _recover(case)
                check_unharmed(case, expected, before)
            except AssertionError as error:
                failures.append(f"{point} #{occurrence}: {error}")
            else:
                record_property("kill", (scenario, point))

    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_recovery_killed_at_any_of_its_own_fault_points_is_itself_recovered(
    scenario: str, clean: Cleans, tmp_path: Path, record_property: Record
) -> None:
    expected = clean(scenario)
    middle = (expected.visits["call.after_body"] + 1) // 2
    points = [point for point in expected.recovery_visits if point.startswith("recovery.")]
    assert len(points) == 3

    for point in points:
        case = _kill(tmp_path / point, scenario, "call.after_body", middle)
        assert case is not None
        before = [_then(case, point)]
        died = case.run(CONTINUE, at=(point, 1))
        assert died.status == KILLED, died.output
        before.append(_then(case, point))
        _recover(case)
        check_unharmed(case, expected, before)
        record_property("kill", (scenario, "call.after_body"))
        record_property("kill", (scenario, point))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_run_killed_and_then_killed_in_two_recoveries_in_a_row_is_recovered(
    scenario: str, clean: Cleans, tmp_path: Path, record_property: Record
) -> None:
    expected = clean(scenario)
    case = _kill(tmp_path, scenario, "call.before_body", 1)
    assert case is not None
    before = [_then(case, "call.before_body")]

    for point in ("call.before_commit", "commit.inside"):
        # The first commit of a recovery is the reaping, the second the claim.
        died = case.run(CONTINUE, at=(point, 3 if point == "commit.inside" else 1))
        assert died.status == KILLED, died.output
        before.append(_then(case, point))
        record_property("kill", (scenario, point))
    _recover(case)

    check_unharmed(case, expected, before)
    record_property("kill", (scenario, "call.before_body"))


@pytest.mark.parametrize("seed", range(10))
def test_run_killed_at_a_random_moment_is_recovered(
    seed: int, clean: Cleans, tmp_path: Path, record_property: Record
) -> None:
    chance = random.Random(seed)
    scenario = chance.choice(SCENARIOS)
    expected = clean(scenario)
    case = _case(tmp_path / "case", scenario)

    process = case.start(case.script())
    try:
        process.wait(timeout=chance.uniform(0.1, 0.4))
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    before = [_then(case, "")]
    _recover(case)

    check_unharmed(case, expected, before)
    record_property("kill", (scenario, "at random"))


def test_every_fault_point_is_reached_by_some_scenario(clean: Cleans, tmp_path: Path) -> None:
    reached: set[str] = set()
    here, there = _case(tmp_path / "here", "archive"), _case(tmp_path / "there", "archive")
    for case, what in ((here, "make"), (here, "export"), (there, "import")):
        ended = case.run(arguments=[what, str(tmp_path / "file")])
        assert ended.status == 0, ended.output
        reached |= set(case.visits(ended))
    tidy, backup = _case(tmp_path / "tidy", "tidy"), str(tmp_path / "backup")
    assert tidy.run(arguments=["make"]).status == 0
    for file in (tidy.folder / "blobs").rglob("*"):
        os.utime(file, (0, 0))  # what was put just now is not collected
    for arguments in (["prune"], ["backup", backup], ["restore", backup]):
        ended = tidy.run(arguments=arguments)
        assert ended.status == 0, ended.output
        reached |= set(tidy.visits(ended))
    for scenario in SCENARIOS:
        reached |= set(clean(scenario).visits) | set(clean(scenario).recovery_visits)

    assert reached == set(FAULT_POINTS)


@pytest.mark.parametrize(
    ("scenario", "again"),
    [
        ("replay_fan_out", ["parse 7", "join [100, 107, 102]"]),
        ("replay_middle", ["begin sun", "end moon", "over"]),
    ],
)
def test_replay_that_nobody_kills_runs_what_it_was_planned_to_run(
    scenario: str, again: list[str], tmp_path: Path
) -> None:
    case = _case(tmp_path / "case", scenario)

    ended = case.run()

    assert ended.status == 0, ended.output
    [origin] = case.lines("origin")
    ran = [e.identity for e in case.effects() if e.exec_id != origin["exec_id"]]
    assert ran == again


@pytest.mark.parametrize(
    "point", ["execution.after_create", "call.after_body", "call.after_commit"]
)
def test_script_that_is_simply_started_again_finishes_its_run_under_the_same_key(
    point: str, clean: Cleans, tmp_path: Path, record_property: Record
) -> None:
    expected = clean("idempotent")
    case = _kill(tmp_path, "idempotent", point, 1)
    assert case is not None
    before = [_then(case, point)]

    ended = case.run()

    assert ended.status == 0, ended.output
    assert len({line["exec_id"] for line in case.lines("accepted")}) == 1
    check_unharmed(case, expected, before)
    record_property("kill", ("idempotent", point))
