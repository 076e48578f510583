"""Several processes on one store, stopped and interrupted processes, and the end of a script."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from kitaru.model import ExecutionStatus
from tests.crash.sweep import CONTINUE, KILLED, PATIENCE_SECONDS, Case, Cases, end

pytestmark = pytest.mark.slow


@pytest.fixture
def gated(cases: Cases, tmp_path: Path) -> Case:
    return cases.new(tmp_path, "gated")


def _killed_in_the_middle(case: Case) -> None:
    process = case.start(case.script())
    try:
        case.wait_for_line("reached")
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("repetition", range(3))
def test_two_processes_that_recover_at_the_same_moment_run_it_once(
    gated: Case, processes: list[subprocess.Popen[str]], repetition: int
) -> None:
    _killed_in_the_middle(gated)
    gated.allow("gate")

    processes.extend(gated.start(gated.script(CONTINUE), CRASH_TOGETHER="1") for _ in range(2))
    gated.wait_for_line("ready", 2)
    gated.allow("go")

    for process in processes:
        status, output = end(process)
        assert status == 0, output
    assert len(gated.lines("continued")) == 1
    assert [effect.identity for effect in gated.effects()] == ["first", "second", "third"]
    [execution] = gated.state().executions
    assert (execution.status, execution.epoch) == (ExecutionStatus.COMPLETED, 2)
    assert execution.recoveries == 1


def test_runner_stopped_past_its_lease_cannot_write_when_it_goes_on(
    gated: Case, processes: list[subprocess.Popen[str]]
) -> None:
    short = {"KITARU_LEASE_SECONDS": "1", "KITARU_LEASE_RENEW_SECONDS": "0.25"}
    stopped = gated.start(gated.script(), **short)
    processes.append(stopped)
    gated.wait_for_line("reached")
    stopped.send_signal(signal.SIGSTOP)
    gated.allow("gate")
    # It is alive, so only its lease tells that it is lost.
    for _ in range(60):
        ended = gated.run(CONTINUE)
        assert ended.status == 0, ended.output
        if gated.lines("continued"):
            break
    before = gated.state()
    assert before.executions[0].status is ExecutionStatus.COMPLETED

    stopped.send_signal(signal.SIGCONT)

    status, output = end(stopped)
    assert status == 0, output
    assert gated.state() == before  # S3.7
    assert gated.lines("result") == [{"result": "WORD!"}]
    third = [effect for effect in gated.effects() if effect.identity == "third"]
    assert len(third) == 1
    assert third[0].pid != stopped.pid


def test_execution_that_kills_every_runner_is_failed_with_the_reason(
    cases: Cases, tmp_path: Path
) -> None:
    case = cases.new(tmp_path, "deadly")
    assert case.run().status == KILLED
    for _ in range(2):
        assert case.run(CONTINUE).status == KILLED

    ended = case.run(CONTINUE)

    assert ended.status == 0, ended.output
    [execution] = case.state().executions
    assert execution.status is ExecutionStatus.FAILED  # S3.8
    assert execution.status_reason == (
        "its runner was lost 3 times, more often than `max_recoveries` (2) allows"
    )
    assert len(case.effects()) == 3


def test_first_interrupt_leaves_runs_resumable_and_says_so(
    gated: Case, processes: list[subprocess.Popen[str]]
) -> None:
    process = gated.start(gated.script())
    processes.append(process)
    gated.wait_for_line("reached")

    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    told = ""
    while "Press Ctrl-C again" not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    gated.allow("gate")

    status, output = end(process)
    assert status in {-signal.SIGINT, 130}, output  # S1.5
    [execution] = gated.state().executions
    assert execution.status is ExecutionStatus.PENDING
    assert f"gated ({execution.id}) will stop at the next checkpoint" in told
    assert "kitaru executions recover" in told
    assert [effect.identity for effect in gated.effects()] == ["first", "second"]

    ended = gated.run(CONTINUE)

    assert ended.status == 0, ended.output
    assert [effect.identity for effect in gated.effects()] == ["first", "second", "third"]
    assert gated.results() == {"gated": ["WORD!"]}


def test_second_interrupt_ends_the_process_with_130(
    gated: Case, processes: list[subprocess.Popen[str]]
) -> None:
    process = gated.start(gated.script())
    processes.append(process)
    gated.wait_for_line("reached")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "Press Ctrl-C again" not in (line := process.stderr.readline()):
        assert line or process.poll() is None

    process.send_signal(signal.SIGINT)

    status, output = end(process)
    assert status == 130, output  # S1.5
    assert "What is recorded stays recorded" in output
    gated.allow("gate")
    assert gated.run(CONTINUE).status == 0
    assert gated.results() == {"gated": ["WORD!"]}


def test_script_that_ends_without_waiting_finishes_its_runs(
    cases: Cases, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    case = cases.new(tmp_path, "unwaited")
    process = case.start(case.script())
    processes.append(process)
    case.wait_for_line("last line")
    case.allow("gate")

    status, output = end(process)

    assert status == 0, output  # S1.5
    assert case.results() == {
        "threads": [[0, 1]],
        "tasks": [[2, 3]],
        "on_the_scripts_loop": [4],
    }
