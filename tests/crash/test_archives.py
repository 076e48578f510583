"""Exports and imports that die at any fault point leave nothing or everything, and can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.sweep import KILLED, Case, Cases, State, check_files, strikes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Record = Callable[[str, object], None]


def _made(case: Case) -> Case:
    """Give a case a finished execution, its children, an answer and large values."""
    ended = case.run(arguments=["make", ""])
    assert ended.status == 0, ended.output
    return case


def _file_case(folder: Path, name: str) -> Case:
    (folder / name).mkdir()
    return Case(folder / name, "archive")


def _carry(case: Case, what: str, file: Path, at: tuple[str, int] | None = None) -> str:
    ended = case.run(at=at, arguments=[what, str(file)])
    if at is None:
        assert ended.status == 0, ended.output
    else:
        assert ended.status == KILLED, ended.output
    return ended.output


def _points(case: Case, what: str, file: Path) -> list[tuple[str, int]]:
    """Return where to strike, from how it goes when nobody does."""
    ended = case.run(arguments=[what, str(file)])
    assert ended.status == 0, ended.output
    visits = case.visits(ended)
    return [(point, number) for point in visits for number in strikes(visits[point])]


def _check_is_whole(case: Case, expected: State) -> None:
    state = case.state()
    waits = {
        exec_id: [replace(wait, asked_by="") for wait in found]
        for exec_id, found in expected.waits.items()
    }
    # Which process had asked is left out of the file.
    assert state in (expected, replace(expected, waits=waits))
    assert sorted(case.results()["part"]) == [200_000, 200_001]
    assert case.results()["whole"] == [400_001]
    check_files(case)


def test_export_killed_at_any_fault_point_leaves_no_file_or_a_whole_one(
    cases: Cases, tmp_path: Path, record_property: Record
) -> None:
    origin = _made(cases.new(tmp_path / "origin", "archive"))
    points = _points(origin, "export", tmp_path / "undisturbed")
    before = origin.state()
    assert {"export.before_rename", "export.after_rename"} <= {point for point, _ in points}

    for number, at in enumerate(points):
        folder = tmp_path / f"{at[0]}-{at[1]}"
        folder.mkdir()
        file = folder / "whole.kitaru"
        _carry(origin, "export", file, at)
        assert file.exists() == (at[0] == "export.after_rename")
        if not file.exists():
            _carry(origin, "export", file)
        there = _file_case(tmp_path, f"there-{number}")
        _carry(there, "import", file)
        _check_is_whole(there, before)
        record_property("kill", (cases.kind, "archive", at[0]))

    assert origin.state() == before


def test_import_killed_at_any_fault_point_brings_nothing_or_everything(
    cases: Cases, tmp_path: Path, record_property: Record
) -> None:
    origin, file = _made(_file_case(tmp_path, "origin")), tmp_path / "whole.kitaru"
    _carry(origin, "export", file)
    points = _points(cases.new(tmp_path / "undisturbed", "archive"), "import", file)
    assert {"import.after_blobs", "import.after_commit"} <= {point for point, _ in points}
    expected = origin.state()

    for at in points:
        case = cases.new(tmp_path / f"{at[0]}-{at[1]}", "archive")
        _carry(case, "import", file, at)
        # What a server was asked for it does, also for one who does not hear of it any more.
        may_have_come = at[0] in {"import.after_commit", "request.sent"}
        if not at[0].startswith("migration."):
            here = case.state().executions
            assert here in (([], expected.executions) if may_have_come else ([],))
            assert here or at[0] != "import.after_commit"
        ended = case.run(arguments=["import", str(file)])
        assert ended.status == 0 or (may_have_come and "is here already" in ended.output)
        _check_is_whole(case, expected)
        record_property("kill", (cases.kind, "archive", at[0]))
