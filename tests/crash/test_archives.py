"""Exports and imports that die at any fault point leave nothing or everything, and can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.sweep import KILLED, Case, State, check_files, strikes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Record = Callable[[str, object], None]


@pytest.fixture
def origin(tmp_path: Path) -> Case:
    """Return a case with a finished execution, its children, an answer and large values."""
    case = _case(tmp_path, "origin")
    ended = case.run(arguments=["make", ""])
    assert ended.status == 0, ended.output
    return case


def _case(folder: Path, name: str) -> Case:
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
    origin: Case, tmp_path: Path, record_property: Record
) -> None:
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
        there = _case(tmp_path, f"there-{number}")
        _carry(there, "import", file)
        _check_is_whole(there, before)
        record_property("kill", ("archive", at[0]))

    assert origin.state() == before


def test_import_killed_at_any_fault_point_brings_nothing_or_everything(
    origin: Case, tmp_path: Path, record_property: Record
) -> None:
    file = tmp_path / "whole.kitaru"
    _carry(origin, "export", file)
    points = _points(_case(tmp_path, "undisturbed"), "import", file)
    assert {"import.after_blobs", "import.after_commit"} <= {point for point, _ in points}
    expected = origin.state()

    for at in points:
        case = _case(tmp_path, f"{at[0]}-{at[1]}")
        _carry(case, "import", file, at)
        if not at[0].startswith("migration."):
            here = case.state().executions
            assert here == (expected.executions if at[0] == "import.after_commit" else [])
        if at[0] == "import.after_commit":
            ended = case.run(arguments=["import", str(file)])
            assert "is here already" in ended.output
        else:
            _carry(case, "import", file)
        _check_is_whole(case, expected)
        record_property("kill", ("archive", at[0]))
