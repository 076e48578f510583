"""Examples that ask, sleep and replay; two of them are killed while they wait for an answer."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from kitaru import Execution, ExecutionStatus, KitaruClient
from tests.examples.conftest import ROOT, Run

WAIT_ASKED = "kitaru.wait.asked"


def output_of(run_python: Run, name: str, *arguments: str) -> list[str]:
    ended = run_python(Path("examples", name), *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@contextlib.contextmanager
def started(name: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Start an example, and return it with the id of its execution once it has said that."""
    with subprocess.Popen(
        [sys.executable, "-u", "-W", "error", ROOT / "examples" / name],
        cwd=ROOT,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().removeprefix("execution ").strip()
        finally:
            process.kill()


def killed_while_it_waits(name: str) -> str:
    """Start an example, kill it as soon as it asks, and return the id of its execution."""
    with started(name) as (process, exec_id):
        next(KitaruClient().executions.events(exec_id, kinds=[WAIT_ASKED]))
        process.kill()
    return exec_id


def answered_elsewhere(run_python: Run, exec_id: str, value: object) -> Execution:
    """Answer with the command, as anyone would, and return the execution once it asks again or is over."""
    executions = KitaruClient().executions
    asked = [*executions.get(exec_id).waits]
    ended = run_python("-m", "kitaru", "executions", "input", exec_id, "--value", json.dumps(value))
    assert ended.returncode == 0, ended.stderr
    for _ in executions.events(exec_id, kinds=[WAIT_ASKED]):
        execution = executions.get(exec_id)
        if len(execution.waits) > len(asked):
            return execution
    return executions.get(exec_id)


def test_person_sends_the_first_draft_back_and_approves_the_second(run_python: Run) -> None:
    lines = output_of(run_python, "approval.py", "--answer")

    assert re.fullmatch(r"execution [0-9a-f-]{36}", lines[0])
    assert lines[1:4] == [
        "review: Review(approved=False, comment='but shorter')",
        "review-2: Review(approved=True, comment='')",
        "published: all about bees, but shorter",
    ]
    for line, wait in zip(lines[4:], ("review", "review-2"), strict=True):
        assert re.fullmatch(rf"{wait} answered by \S+ via handle \(pid \d+\)", line)


@pytest.mark.slow
def test_answer_finds_an_execution_whose_process_was_killed(
    run_python: Run, config_dir: Path
) -> None:
    exec_id = killed_while_it_waits("approval.py")
    waiting = KitaruClient().executions.get(exec_id)
    assert waiting.status is ExecutionStatus.WAITING

    execution = answered_elsewhere(run_python, exec_id, {"approved": True})

    assert execution.result() == "published: all about bees"
    [wait] = execution.waits
    assert wait.answer == {"approved": True}
    assert wait.resolved_via is not None
    assert wait.resolved_via.startswith("cli (pid ")
    # Neither was it lost nor did anything run twice.
    assert execution.recoveries == 0
    assert execution.checkpoints[0] == waiting.checkpoints[0]


@pytest.mark.slow
def test_agent_that_was_killed_at_its_bound_goes_on_with_what_it_knows(
    run_python: Run, config_dir: Path
) -> None:
    exec_id = killed_while_it_waits("agent_with_a_bound.py")

    execution = answered_elsewhere(run_python, exec_id, 0)

    assert execution.result() == [
        f"a note on {clue} of bees" for clue in ("hives", "nectar", "dances")
    ]
    assert len(execution.checkpoints) == 7
    assert all(len(call.attempts) <= 1 for call in execution.checkpoints)


def test_agent_asks_whenever_its_turns_are_used_up(run_python: Run) -> None:
    lines = output_of(run_python, "agent_with_a_bound.py", "--answer")

    assert lines[1:3] == [
        "3 turns are used up, and there are 3 notes. How many more? 2",
        "5 turns are used up, and there are 5 notes. How many more? 0",
    ]
    assert lines[-1].split() == [
        *(f"{step}-{turn}" for turn in (1, 2, 3) for step in ("think", "look-up")),
        "more_turns",
        *(f"{step}-{turn}" for turn in (4, 5) for step in ("think", "look-up")),
        "more_turns-2",
    ]


def test_month_and_week_pass_in_a_moment(run_python: Run) -> None:
    lines = output_of(run_python, "month_long_wait.py", "--fast")

    assert lines == [
        "Dear Ada, your month begins on 01 January.",
        "Dear Ada, it is 07 February: good-bye.",
    ]
    [sleep, choice] = [
        call
        for call in KitaruClient().executions.latest().list_checkpoints()
        if call.checkpoint_type in {"timer", "wait"}
    ]
    assert sleep.duration is not None
    assert choice.duration is not None
    assert (sleep.duration.days, choice.duration.days) == (30, 7)


def test_process_ends_while_the_execution_sleeps_for_a_month(run_python: Run) -> None:
    [line] = output_of(run_python, "month_long_wait.py")

    execution = KitaruClient().executions.get(line.removeprefix("execution "))
    assert (execution.status, execution.status_reason) == (
        ExecutionStatus.WAITING,
        "waiting for 'the_month'",
    )


def test_replay_runs_the_branch_that_was_overridden_and_what_joins_it(run_python: Run) -> None:
    lines = output_of(run_python, "replay_with_override.py")

    where = lines.index("had Rome been different:")
    assert lines[where + 1 : where + 5] == [
        "  judging bees in Rome: many",
        "  summarizing",
        "bees in Oslo: few (a problem); bees in Rome: many (all is well); bees in Lima: few (a problem)",
        "what became of the calls:",
    ]
    assert sorted(lines[where + 5 :]) == [
        "  judge#1 was reused",
        "  judge#2 ran",
        "  judge#3 was reused",
        "  search#1 was reused",
        "  search#2 was overridden",
        "  search#3 was reused",
        "  summarize#1 ran",
    ]
