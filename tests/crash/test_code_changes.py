"""Recovery of runs whose code is gone, has moved, or has changed since."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kitaru.model import ExecutionStatus, FailureRecord
from tests.crash.sweep import CONTINUE, FOLDER, KILLED, Case, Ended

pytestmark = pytest.mark.slow

SCRIPT = """\
from __future__ import annotations

import sys

import kit

from kitaru import checkpoint, flow


@checkpoint
def ask(prompt: str) -> str:
    kit.effect(prompt)
    return prompt.upper()


@flow
def talk() -> list[str]:
    return [ask("hello"), ask("how are you"), ask("bye")]


if __name__ == "__main__":
    kit.play(talk)
"""


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Return a case that died in its second call, whose script may be changed."""
    folder = tmp_path / "case"
    folder.mkdir()
    for helper in ("kit", "person", CONTINUE):
        shutil.copy(FOLDER / f"{helper}.py", folder)
    (folder / "talk.py").write_text(SCRIPT)
    return _Own(folder, "talk")


class _Own(Case):
    """A case with scripts of its own."""

    def script(self, name: str | None = None) -> Path:
        return self.folder / f"{name or self.scenario}.py"


def _die(case: Case, *, occurrence: int = 2) -> None:
    ended = case.run(at=("call.after_commit", occurrence))
    assert ended.status == KILLED, ended.output


def _continue(case: Case, *arguments: str) -> Ended:
    return case.run(CONTINUE, arguments=arguments)


def _write(case: Case, text: str) -> None:
    case.script().write_text(text)
    # What was compiled from a text of the same second and length would pass for this one's.
    shutil.rmtree(case.script().parent / "__pycache__", ignore_errors=True)


def _edit(case: Case, old: str, new: str) -> None:
    assert old in SCRIPT
    _write(case, SCRIPT.replace(old, new))


def _identities(case: Case) -> list[str]:
    return [effect.identity for effect in case.effects()]


def _failure(case: Case) -> FailureRecord:
    [execution] = case.state().executions
    assert execution.status is ExecutionStatus.FAILED
    assert execution.failure is not None
    return execution.failure


def test_missing_source_leaves_the_execution_recoverable(case: Case, tmp_path: Path) -> None:
    _die(case)
    case.script().rename(tmp_path / "elsewhere.py")
    before = case.state()

    ended = _continue(case)

    assert "does not exist" in ended.output  # S3.9
    assert str(case.script()) in ended.output
    assert case.state().calls == before.calls
    [execution] = case.state().executions
    assert execution.status in {ExecutionStatus.RUNNING, ExecutionStatus.PENDING}
    assert execution.recoveries == 0

    (tmp_path / "elsewhere.py").rename(case.script())
    assert _continue(case).status == 0
    assert case.results() == {"talk": [["HELLO", "HOW ARE YOU", "BYE"]]}
    assert _identities(case) == ["hello", "how are you", "bye"]


def test_missing_source_of_one_execution_does_not_keep_others_from_recovery(case: Case) -> None:
    _die(case)
    other = _Own(case.folder, "other")
    other.script().write_text(SCRIPT.replace("def talk", "def other").replace("talk)", "other)"))
    _die(other)
    case.script().unlink()

    _continue(case)

    statuses = {execution.flow: execution.status for execution in case.state().executions}
    assert statuses["other"] is ExecutionStatus.COMPLETED
    assert not statuses["talk"].is_finished


def test_renamed_flow_leaves_the_execution_recoverable(case: Case) -> None:
    _die(case)
    _edit(case, "talk", "chat")

    ended = _continue(case)

    assert "has no 'talk'; was it renamed or moved?" in ended.output  # S3.9
    [execution] = case.state().executions
    assert not execution.status.is_finished
    _write(case, SCRIPT)
    assert _continue(case).status == 0
    assert case.results() == {"talk": [["HELLO", "HOW ARE YOU", "BYE"]]}


def test_change_after_the_recovery_point_is_simply_taken_up(case: Case) -> None:
    _die(case)
    _edit(case, 'ask("bye")', 'ask("see you")')

    assert _continue(case).status == 0

    assert case.results() == {"talk": [["HELLO", "HOW ARE YOU", "SEE YOU"]]}
    assert _identities(case) == ["hello", "how are you", "see you"]


def test_change_before_the_recovery_point_fails_and_loses_nothing(case: Case) -> None:
    _die(case)
    _edit(case, "how are you", "what now")

    assert _continue(case).status == 0

    failure = _failure(case)
    assert failure.exception_type == "kitaru.errors.KitaruDivergenceError"  # S3.2c
    for part in ("'ask-2'", "'prompt'", "how are you", "what now", "on_divergence=", "ignore="):
        assert part in failure.message
    assert _identities(case) == ["hello", "how are you"]

    _write(case, SCRIPT)
    [execution] = case.state().executions
    (case.folder / "retry.py").write_text(
        "from kitaru.worker import retry_execution, wait_for\n"
        f"retry_execution({execution.id!r})\n"
        f"wait_for({execution.id!r})\n"
    )
    ended = case.run("retry")

    assert ended.status == 0, ended.output
    assert case.results() == {"talk": [["HELLO", "HOW ARE YOU", "BYE"]]}
    assert _identities(case) == ["hello", "how are you", "bye"]


@pytest.mark.parametrize(
    ("policy", "result", "identities"),
    [
        ("reuse", ["HELLO", "HOW ARE YOU", "BYE"], ["hello", "how are you", "bye"]),
        ("rerun", ["HELLO", "WHAT NOW", "BYE"], ["hello", "how are you", "what now", "bye"]),
    ],
)
def test_recovery_may_be_told_what_to_do_with_a_changed_call(
    case: Case, policy: str, result: list[str], identities: list[str]
) -> None:
    _die(case)
    _edit(case, "how are you", "what now")

    ended = _continue(case, policy)

    assert ended.status == 0, ended.output
    assert case.results() == {"talk": [result]}
    assert _identities(case) == identities


def test_recovery_may_be_told_to_fail_where_the_code_is_the_same(case: Case) -> None:
    script = SCRIPT.replace('"how are you"', "sys.argv[-1]")
    case.script().write_text(script)
    _die(case)

    ended = _continue(case, "fail")

    assert ended.status == 0, ended.output
    assert "KitaruDivergenceError" in _failure(case).exception_type
