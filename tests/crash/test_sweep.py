"""The test that the product stands on: die anywhere, recover, and lose or repeat nothing.

Every scenario is killed with SIGKILL at every fault point that it comes by, and continued by another process:
once, the first time or the last or in between; the simplest ones on files the first and the last time. So all
of it takes minutes. `KITARU_TEST_SWEEP=full` has them all struck everywhere. Which points
a scenario comes by is counted, not listed.
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
    Cases,
    Clean,
    Ended,
    State,
    check_unharmed,
)
from tests.postgres import Databases
from tests.stores import FILE, HTTP, POSTGRES, Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Record = Callable[[str, object], None]
Cleans = Callable[[str], Clean]

NOTHING = State([], {}, {}, {})
# Whether several threads meet in one commit is decided by their timing, even where it is all but certain.
BY_CHANCE = {"commit.group"}
# How many requests there are is decided by how often those who wait look.
BY_TIME = {"request.before_send", "request.sent"}
TRIES = 6
IS_FULL = os.environ.get("KITARU_TEST_SWEEP") == "full"


@pytest.fixture
def clean(store_kind: str, cases: Cases, tmp_path_factory: pytest.TempPathFactory) -> Cleans:
    """Return how a scenario goes undisturbed; found out once for all test processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    @functools.cache
    def find(scenario: str) -> Clean:
        name = f"{store_kind}-{scenario}"
        kept = folder / f"clean-{name}"
        with (folder / f"clean-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                found = _play_undisturbed(cases, scenario, folder / f"undisturbed-{name}")
                kept.write_bytes(pickle.dumps(found))
        return pickle.loads(kept.read_bytes())

    return find


def _play_undisturbed(cases: Cases, scenario: str, folder: Path) -> Clean:
    case = cases.new(folder / "clean", scenario)
    ended = case.run()
    assert ended.status == 0, ended.output
    visits, results, questions = case.visits(ended), case.results(), case.state().questions()
    effects = collections.Counter(effect.identity for effect in case.effects())
    recovered = cases.new(folder / "recovered", scenario)
    died = recovered.run(at=("call.after_body", (visits["call.after_body"] + 1) // 2))
    assert died.status == KILLED, died.output
    return Clean(
        visits=visits,
        results=results,
        effects=effects,
        questions=questions,
        recovery_visits=recovered.visits(_recover(recovered)),
    )


def _recover(case: Case) -> Ended:
    ended = case.run(CONTINUE)
    assert ended.status == 0, ended.output
    return ended


def _kill(cases: Cases, folder: Path, scenario: str, point: str, occurrence: int) -> Case | None:
    """Return a case whose process died at a point; None if chance never led it there."""
    for number in range(TRIES):
        case = cases.new(folder / f"{point}-{occurrence}-{number}", scenario)
        earlier = occurrence >> number if point in BY_TIME else occurrence - number
        ended = case.run(at=(point, max(1, earlier)))
        if ended.status == KILLED:
            return case
        # Concurrent calls share commits, so a late visit may not come about this time.
        assert ended.status == 0, f"neither killed nor well: {ended.status}\n{ended.output}"
    return None


def _then(case: Case, point: str) -> tuple[State, int]:
    # Looking would create the tables, which is for the recovering process to do.
    state = NOTHING if point.startswith("migration.") else case.state()
    return state, len(case.effects())


def _visits_to_strike(cases: Cases, scenario: str, point: str, expected: Clean) -> list[int]:
    found = expected.strikes(point)
    if IS_FULL:
        return found
    if cases.kind == FILE and scenario in BEGINNERS:
        return sorted({*found[:1], *found[-1:]})
    return expected.strike_of(point, f"{cases.kind} {scenario} {point}")


BEFORE_ANYTHING = {point for point in FAULT_POINTS if point.startswith("migration.")} | {
    "execution.before_create"
}
BEGINNERS = {"sequential", "gather", "child_flow", "asks"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_run_killed_at_any_fault_point_is_recovered_without_loss_or_repetition(
    scenario: str, clean: Cleans, cases: Cases, tmp_path: Path, record_property: Record
) -> None:
    expected = clean(scenario)
    failures: list[str] = []

    for point in FAULT_POINTS:
        if point in BEFORE_ANYTHING and scenario not in BEGINNERS:
            continue
        for occurrence in _visits_to_strike(cases, scenario, point, expected):
            try:
                case = _kill(cases, tmp_path, scenario, point, occurrence)
                if case is None:
                    assert point in BY_CHANCE, "not reached, although it was without a kill"
                    continue
                before = [_then(case, point)]
                _recover(case)
                check_unharmed(case, expected, before)
            except AssertionError as error:
                failures.append(f"{point} #{occurrence}: {error}")
            else:
                record_property("kill", (cases.kind, scenario, point))

    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_recovery_killed_at_any_of_its_own_fault_points_is_itself_recovered(
    scenario: str, clean: Cleans, cases: Cases, tmp_path: Path, record_property: Record
) -> None:
    expected = clean(scenario)
    middle = (expected.visits["call.after_body"] + 1) // 2
    points = [point for point in expected.recovery_visits if point.startswith("recovery.")]
    assert len(points) == 3

    for point in points:
        case = _kill(cases, tmp_path / point, scenario, "call.after_body", middle)
        assert case is not None
        before = [_then(case, point)]
        died = case.run(CONTINUE, at=(point, 1))
        assert died.status == KILLED, died.output
        before.append(_then(case, point))
        _recover(case)
        check_unharmed(case, expected, before)
        record_property("kill", (cases.kind, scenario, "call.after_body"))
        record_property("kill", (cases.kind, scenario, point))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_run_killed_and_then_killed_in_two_recoveries_in_a_row_is_recovered(
    scenario: str, clean: Cleans, cases: Cases, tmp_path: Path, record_property: Record
) -> None:
    expected = clean(scenario)
    case = _kill(cases, tmp_path, scenario, "call.before_body", 1)
    assert case is not None
    before = [_then(case, "call.before_body")]

    # The first commit of a recovery is the reaping, the second the claim. A server has commits to itself.
    third = ("call.after_commit", 1) if cases.kind == HTTP else ("commit.inside", 3)
    for point, occurrence in (("call.before_commit", 1), third):
        died = case.run(CONTINUE, at=(point, occurrence))
        assert died.status == KILLED, died.output
        before.append(_then(case, point))
        record_property("kill", (cases.kind, scenario, point))
    _recover(case)

    check_unharmed(case, expected, before)
    record_property("kill", (cases.kind, scenario, "call.before_body"))


@pytest.mark.parametrize("seed", range(10))
def test_run_killed_at_a_random_moment_is_recovered(
    seed: int, clean: Cleans, cases: Cases, tmp_path: Path, record_property: Record
) -> None:
    chance = random.Random(seed)
    scenario = chance.choice(SCENARIOS)
    expected = clean(scenario)
    case = cases.new(tmp_path / "case", scenario)

    process = case.start(case.script())
    try:
        process.wait(timeout=chance.uniform(0.1, 0.4))
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    before = [_then(case, "")]
    _recover(case)

    check_unharmed(case, expected, before)
    record_property("kill", (cases.kind, scenario, "at random"))


# A server's commits are killed with the server (`test_outages.py`), Postgres is backed up with its own means.
_BACKUP = {point for point in FAULT_POINTS if point.startswith(("backup.", "restore."))}
_MIGRATION = {point for point in FAULT_POINTS if point.startswith("migration.")}
NOT_IN_A_RUNNER = {
    FILE: BY_TIME,
    POSTGRES: {*_BACKUP, *BY_TIME},
    HTTP: {
        *_BACKUP,
        *_MIGRATION,
        *("commit.inside", "commit.group", "prune.inside", "blob.aside", "blob.after_delete"),
    },
}


def test_every_fault_point_is_reached_by_some_scenario(
    store_kind: str, clean: Cleans, cases: Cases, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    reached: set[str] = set()
    file, backup = str(tmp_path / "file"), str(tmp_path / "backup")

    def visit(case: Case, *arguments: str) -> None:
        ended = case.run(arguments=arguments)
        assert ended.status == 0, ended.output
        reached.update(case.visits(ended))

    here = cases.new(tmp_path / "here", "archive")
    visit(here, "make", file)
    visit(here, "export", file)
    visit(cases.new(tmp_path / "there", "archive"), "import", file)
    tidy = cases.new(tmp_path / "tidy", "tidy")
    assert tidy.run(arguments=["make"]).status == 0
    for blob in (tidy.folder / "blobs").rglob("*"):
        os.utime(blob, (0, 0))  # what was put just now is not collected
    visit(tidy, "prune")
    if store_kind == FILE:
        visit(tidy, "backup", backup)
        visit(tidy, "restore", backup)
    if store_kind == POSTGRES:
        databases: Databases = request.getfixturevalue("databases")
        with databases.unmigrated() as url:
            visit(_to_be_migrated(tmp_path / "migrate", url))
    for scenario in SCENARIOS:
        reached |= set(clean(scenario).visits) | set(clean(scenario).recovery_visits)

    assert reached == set(FAULT_POINTS) - NOT_IN_A_RUNNER[store_kind]


def _to_be_migrated(folder: Path, url: str) -> Case:
    folder.mkdir(parents=True)
    artifacts = Place.in_folder(folder).artifact_store
    return Case(folder, "migrate", Place(kind=POSTGRES, store_url=url, artifact_store=artifacts))


@pytest.mark.parametrize("point", sorted(_MIGRATION))
@pytest.mark.parametrize("occurrence", [1, 2, 4])
def test_migration_of_a_database_that_was_killed_is_finished_by_the_next(
    point: str,
    occurrence: int,
    databases: Databases,
    tmp_path: Path,
    record_property: Record,
) -> None:
    with databases.unmigrated() as url:
        case = _to_be_migrated(tmp_path / "case", url)
        died = case.run(at=(point, occurrence))
        assert died.status == KILLED, died.output

        ended = case.run()

        assert ended.status == 0, ended.output
        with case.store() as store:
            assert store.verify() == []
    record_property("kill", (POSTGRES, "migrate", point))


@pytest.mark.parametrize(
    ("scenario", "again"),
    [
        ("replay_fan_out", ["parse 7", "join [100, 107, 102]"]),
        ("replay_middle", ["begin sun", "end moon", "over"]),
    ],
)
def test_replay_that_nobody_kills_runs_what_it_was_planned_to_run(
    scenario: str, again: list[str], cases: Cases, tmp_path: Path
) -> None:
    case = cases.new(tmp_path / "case", scenario)

    ended = case.run()

    assert ended.status == 0, ended.output
    [origin] = case.lines("origin")
    ran = [e.identity for e in case.effects() if e.exec_id != origin["exec_id"]]
    assert ran == again


@pytest.mark.parametrize(
    "point", ["execution.after_create", "call.after_body", "call.after_commit"]
)
def test_script_that_is_simply_started_again_finishes_its_run_under_the_same_key(
    point: str, clean: Cleans, cases: Cases, tmp_path: Path, record_property: Record
) -> None:
    expected = clean("idempotent")
    case = _kill(cases, tmp_path, "idempotent", point, 1)
    assert case is not None
    before = [_then(case, point)]

    ended = case.run()

    assert ended.status == 0, ended.output
    assert len({line["exec_id"] for line in case.lines("accepted")}) == 1
    check_unharmed(case, expected, before)
    record_property("kill", (cases.kind, "idempotent", point))
