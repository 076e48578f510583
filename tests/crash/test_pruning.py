"""Prunings, backups and restorings that die anywhere harm nothing; prunings beside runs neither.

Each strike is at a copy of one folder, so these are on files. `tests/store/test_pruning.py` has the steps of
a pruning on every kind of store, each of which is one transaction.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kitaru.model import ExecutionFilter
from tests.crash.sweep import KILLED, Case, State, check_files, end, strikes
from tests.stores import FILE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Record = Callable[[str, object], None]
LONG_AGO = 1_000_000_000


@pytest.fixture
def origin(tmp_path: Path) -> Case:
    """Return a case with executions that have children, large values and many log lines."""
    (tmp_path / "origin").mkdir()
    case = Case(tmp_path / "origin", "tidy")
    _run(case, "make")
    for file in (case.folder / "blobs").rglob("*"):
        os.utime(file, (LONG_AGO, LONG_AGO))
    return case


def _run(case: Case, *arguments: str, at: tuple[str, int] | None = None) -> int:
    ended = case.run(at=at, arguments=arguments)
    assert ended.status == (0 if at is None else KILLED), ended.output
    return ended.pid


def _copy(case: Case, name: str) -> Case:
    folder = case.folder.parent / name
    shutil.copytree(case.folder, folder)  # with the times of the blobs
    return Case(folder, case.scenario)


def _points(case: Case, *arguments: str) -> list[tuple[str, int]]:
    """Return where to strike, from how it goes in a copy when nobody does."""
    ended = case.run(arguments=arguments)
    assert ended.status == 0, ended.output
    visits = case.visits(ended)
    return [(point, number) for point in visits for number in strikes(visits[point])]


def _blobs(case: Case) -> list[str]:
    return list(case.blobs().list_digests())


def _check_is_part_of(state: State, before: State) -> None:
    """Assert that what is still there is there as a whole."""
    everything = {execution.id: execution for execution in before.executions}
    assert {one.id for one in state.executions} <= set(everything)
    for execution in state.executions:
        assert execution == everything[execution.id]
        assert state.calls[execution.id] == before.calls[execution.id]
        for child in before.executions:
            if child.parent_id == execution.id:
                assert child in state.executions


def test_pruning_killed_at_any_fault_point_leaves_whole_executions_and_goes_on_the_next_time(
    origin: Case, record_property: Record
) -> None:
    before = origin.state()
    undisturbed = _copy(origin, "undisturbed")
    points = _points(undisturbed, "prune")
    expected, blobs = undisturbed.state(), _blobs(undisturbed)
    assert {"prune.inside", "prune.after_step", "blob.aside", "blob.after_delete"} <= {
        point for point, _ in points
    }
    assert len(expected.executions) == 3
    assert len(blobs) < len(_blobs(origin))

    for at in points:
        case = _copy(origin, f"{at[0]}-{at[1]}")
        _run(case, "prune", at=at)
        _check_is_part_of(case.state(), before)
        check_files(case)
        _run(case, "prune")
        assert case.state() == expected
        assert _blobs(case) == blobs
        assert not list((case.folder / "blobs").rglob("*.unwanted"))
        check_files(case)
        record_property("kill", (FILE, "tidy", at[0]))


def test_backup_killed_at_any_fault_point_leaves_none_or_a_whole_one(
    origin: Case, tmp_path: Path, record_property: Record
) -> None:
    before = origin.state()
    points = _points(_copy(origin, "undisturbed"), "backup", str(tmp_path / "first"))
    assert {"backup.before_rename", "backup.after_rename"} <= {point for point, _ in points}

    for at in points:
        folder = tmp_path / f"backup-{at[0]}-{at[1]}"
        _run(origin, "backup", str(folder), at=at)
        assert folder.exists() == (at[0] == "backup.after_rename")
        if not folder.exists():
            _run(origin, "backup", str(folder))
        there = tmp_path / f"there-{at[0]}-{at[1]}"
        there.mkdir()
        case = Case(there, "tidy")
        _run(case, "restore", str(folder))
        assert case.state() == before
        check_files(case)
        record_property("kill", (FILE, "tidy", at[0]))
    assert origin.state() == before


def test_restoring_killed_at_any_fault_point_changes_nothing_or_everything(
    origin: Case, tmp_path: Path, record_property: Record
) -> None:
    _run(origin, "backup", str(tmp_path / "backup"))
    backed_up = origin.state()
    _run(origin, "make")
    later = origin.state()
    points = _points(_copy(origin, "undisturbed"), "restore", str(tmp_path / "backup"))
    assert {"restore.after_blobs", "restore.after_commit"} <= {point for point, _ in points}

    for at in points:
        case = _copy(origin, f"{at[0]}-{at[1]}")
        _run(case, "restore", str(tmp_path / "backup"), at=at)
        assert case.state() == (backed_up if at[0] == "restore.after_commit" else later)
        check_files(case)
        _run(case, "restore", str(tmp_path / "backup"))
        assert case.state() == backed_up
        check_files(case)
        record_property("kill", (FILE, "tidy", at[0]))


def test_pruning_beside_runs_never_takes_a_value_that_something_names(
    tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    case = Case(tmp_path, "churn")
    for what, seconds in (("run", 14), ("run", 14), ("run", 14), ("prune", 13), ("prune", 13)):
        processes.append(case.start(case.script(), what, str(seconds)))

    outcomes = [end(process) for process in processes]

    assert [status for status, _ in outcomes] == [0] * 5, outcomes
    ran = sum(line["runs"] for line in case.lines("ran"))
    pruned = [line["executions"] for line in case.lines("pruned")]
    collected = sum(line["blobs"] for line in case.lines("pruned"))
    assert ran > 50
    assert sum(pruned) > ran // 2
    assert collected > 5
    with case.store() as store:
        assert store.count_executions(ExecutionFilter(project="default")) > 0
    check_files(case)
