"""The demo's proof, with made-up evidence and with a real kill."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from examples.repo_audit.demo import Evidence, Verdict, judge
from examples.repo_audit.report import write_whole
from examples.repo_audit.witness import Effect, read_effects
from kitaru import CheckpointCall, ExecutionStatus, KitaruClient
from tests.examples.conftest import Run

KILLED, RECOVERING = 11, 12
MODULES = 12


def call(call_id: str, *, second: int = 0) -> CheckpointCall:
    return CheckpointCall(
        call_id=call_id,
        name=call_id.partition("-")[0],
        status=ExecutionStatus.COMPLETED,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        ended_at=datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC),
        metadata={},
        original_call_id=None,
        parent_call_ids=(),
        failure=None,
        attempts=(),
        artifacts=(),
    )


def calls(*call_ids: str) -> dict[str, CheckpointCall]:
    return {call_id: call(call_id) for call_id in call_ids}


HONEST = Evidence(
    killed_pid=KILLED,
    before=calls("list_modules", "inspect_module"),
    after=calls("list_modules", "inspect_module", "inspect_module-2", "inspect_module-3"),
    effects=[
        Effect("inspect_module", KILLED),
        Effect("inspect_module-2", KILLED),
        Effect("inspect_module-2", RECOVERING),
        Effect("inspect_module-3", RECOVERING),
    ],
)


def test_body_cut_off_by_the_kill_may_run_again() -> None:
    verdict = judge(HONEST)

    assert verdict.holds
    assert verdict == Verdict(
        ran_again=(),
        changed=(),
        in_flight=("inspect_module-2",),
        repeated=("inspect_module-2",),
        never_ran=(),
    )


def test_recorded_body_that_ran_again_breaks_the_proof() -> None:
    again = Effect("inspect_module", RECOVERING)

    verdict = judge(replace(HONEST, effects=[*HONEST.effects, again]))

    assert not verdict.holds
    assert verdict.ran_again == ("inspect_module",)


def test_record_that_changed_breaks_the_proof() -> None:
    later = {**HONEST.after, "inspect_module": call("inspect_module", second=9)}

    verdict = judge(replace(HONEST, after=later))

    assert not verdict.holds
    assert verdict.changed == ("inspect_module",)


def test_record_that_got_lost_breaks_the_proof() -> None:
    left = {name: kept for name, kept in HONEST.after.items() if name != "list_modules"}

    verdict = judge(replace(HONEST, after=left))

    assert not verdict.holds
    assert verdict.changed == ("list_modules",)


def test_call_without_any_line_breaks_the_proof() -> None:
    verdict = judge(replace(HONEST, effects=HONEST.effects[:-1]))

    assert not verdict.holds
    assert verdict.never_ran == ("inspect_module-3",)


def test_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "report.md"

    write_whole(path, "old")
    write_whole(path, "new — é\n")

    assert path.read_text("utf-8") == "new — é\n"
    assert [*path.parent.iterdir()] == [path]


def test_no_body_has_run_before_the_first_line(tmp_path: Path) -> None:
    assert read_effects(tmp_path / "missing.jsonl") == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a source tree of twelve modules, two of which are not Python."""
    root = tmp_path / "tree"
    (root / "pkg").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / ".hidden" / "no.py").write_text("x = 1\n")
    for number in range(MODULES - 2):
        lines = [f"    if a == {each}: pass  # TODO" for each in range(number)]
        text = "\n".join(["def public(a):", *lines, "    return a", ""])
        (root / "pkg" / f"m{number}.py").write_text(text)
    (root / "broken.py").write_text("def f(:\n")
    (root / "latin.py").write_bytes("name = 'Zoë'\n".encode("latin-1"))
    return root


@pytest.mark.slow
def test_audit_reports_broken_modules_too(run_python: Run, tree: Path, tmp_path: Path) -> None:
    report = tmp_path / "out" / "audit.md"

    ended = run_python("-m", "examples.repo_audit", tree, "--top", "3", "--report", report)

    assert ended.returncode == 0, ended.stderr
    text = report.read_text("utf-8")
    assert "- 12 modules with 67 lines\n" in text
    assert "- `broken.py`: does not parse: invalid syntax in line 1\n" in text
    assert "- `latin.py`: does not parse: (unicode error)" in text
    assert re.findall(r"^### `(.*)`$", text, re.MULTILINE) == ["broken.py", "latin.py", "pkg/m9.py"]
    [execution] = KitaruClient().executions.list(flow="audit")
    [artifact] = [kept for kept in execution.list_artifacts() if kept.name == "report.md"]
    assert artifact.load() == text
    assert execution.refresh().metadata["modules"] == MODULES


@pytest.mark.slow
def test_demo_kills_recovers_and_proves(run_python: Run, tree: Path, tmp_path: Path) -> None:
    ended = run_python("-m", "examples.repo_audit.demo", tree)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    killed = re.search(r"kill -9 (\d+), after (\d+) of 12 modules were recorded", ended.stdout)
    assert killed is not None
    assert MODULES // 2 <= int(killed[2]) < MODULES
    said = dict(line.rsplit(None, 1) for line in ended.stdout.splitlines()[-5:])
    report = Path(said.pop("Report:"))
    repeated = said.pop("Bodies cut off by the kill, which ran again:")
    assert said == {
        "Modules audited:": "12",
        "Checkpoints recorded before the kill:": str(int(killed[2]) + 1),
        "Recorded bodies that ran again after it:": "0",
    }
    assert 0 <= int(repeated) <= MODULES - int(killed[2])
    assert report.read_text("utf-8").startswith("# Audit of tree\n")
    # Nothing else is left behind, neither there nor in the user's own store.
    assert [*tmp_path.glob("temporary/**/*")] == [report.parent, report]
    assert list(tmp_path.glob("kitaru/*")) == []
    assert "\033" not in ended.stdout


@pytest.mark.slow
def test_demo_refuses_a_tree_that_is_too_small(run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "only.py").write_text("x = 1\n")

    ended = run_python("-m", "examples.repo_audit.demo", tmp_path / "tree")

    assert ended.returncode == 1
    assert "The demo could not be shown:" in ended.stderr
    assert list(tmp_path.glob("temporary/**/*")) == []


@pytest.mark.slow
def test_audit_is_replayed_with_one_inspection_replaced(
    run_python: Run, tree: Path, tmp_path: Path
) -> None:
    report = tmp_path / "audit.md"
    run_python("-m", "examples.repo_audit", tree, "--report", report)
    before = report.read_text("utf-8")
    [old] = KitaruClient().executions.list(flow="audit")

    ended = run_python("-m", "examples.repo_audit.what_if", old.exec_id, "pkg/m9.py")

    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.splitlines()[-1]
    assert said.startswith(f"kitaru executions diff {old.exec_id} ")
    compared = run_python("-m", *said.split())
    assert compared.returncode == 0, compared.stderr
    calls = KitaruClient().executions.get(said.split()[-1]).checkpoints
    ran = {call.name for call in calls if call.original_call_id is None}
    assert ran == {"plan_closer_look", "look_closer", "write_report"}
    assert [call.name for call in calls if call.is_overridden] == ["inspect_module"]
    assert report.read_text("utf-8") == before
