"""Flows that ask, each in a process of its own, answered by other processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import COMMAND, Done, Kitaru

pytestmark = pytest.mark.slow

DEADLINE_SECONDS = 40.0  # only a test that fails gets there

APP = """
import kitaru
from kitaru import checkpoint, flow


@checkpoint
def draft(topic):
    print("drafting", topic)
    return topic.upper()


@checkpoint
def publish(text, approved):
    print("publishing")
    return f"{text}: {approved}"


@flow
def article(topic="owls", stay=0):
    text = draft(topic)
    approved = kitaru.wait(schema=bool, name="approve", question="Publish?", timeout=stay)
    return publish(text, approved)


@flow
def nap(seconds=0.0):
    kitaru.sleep(seconds)
    return "rested"
"""


@pytest.fixture
def app(here: Path) -> Path:
    (here / "app.py").write_text(APP)
    return here


def start(*tokens: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *tokens],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def until_gone(pid: int) -> None:
    """Wait for the end of a process that is a child of nobody we know."""
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


def leave_waiting(process: Kitaru, *more: str) -> str:
    """Run a flow that asks and leaves its process; return its id."""
    done = process("run", "app.py:article", "-o", "json", *more)
    assert done.code == 0, done.err
    return done.json["item"]["exec_id"]


def finish(process: Kitaru, exec_id: str) -> Done:
    return process("executions", "watch", exec_id)


def test_run_that_leaves_its_process_says_what_it_waits_for(app: Path, process: Kitaru):
    as_text = process("run", "app.py:article", "--input", '{"topic": "cats"}')
    as_json = process("run", "app.py:article", "-o", "json")

    item = as_json.json["item"]
    head, status, why, command = as_text.out.splitlines()[-4:]
    exec_id = head.removeprefix("Waiting execution: ")
    assert (as_text.code, as_json.code) == (0, 0)
    assert status == "  Status: waiting"
    assert f"{exec_id!r} of flow 'article' waits for 'approve'" in why
    assert command == f"  kitaru executions input {exec_id} --wait approve --value true"
    assert (item["status"], item["result"], item["pending_wait"]["name"]) == (
        "waiting",
        None,
        "approve",
    )
    assert "Kitaru: approve asks: Publish?\n" in as_text.err


def test_answer_after_the_process_was_killed_is_gone_on_with_by_another(app: Path, process: Kitaru):
    running = start("run", "app.py:article", "--input", '{"stay": 600}')
    assert running.stderr is not None
    for line in running.stderr:
        if "asks: Publish?" in line:
            break
    running.kill()
    running.communicate()
    [item] = process("executions", "list", "-o", "json").json["items"]
    exec_id = item["exec_id"]

    answered = process("executions", "input", exec_id[:30], "--value", "true", "-o", "json").json
    pid, log = answered["item"]["runner_pid"], Path(answered["item"]["runner_log"])
    watched = finish(process, exec_id)
    until_gone(pid)
    told = process("executions", "get", exec_id, "-o", "json").json["item"]

    assert item["status"] == "waiting"
    assert answered["item"]["status"] in {"running", "completed"}
    assert answered["item"]["resolved_wait"] == "approve"
    assert watched.code == 0
    assert [call["status"] for call in told["checkpoints"]] == ["completed"] * 3
    assert "publishing" in log.read_text()
    assert "drafting" not in log.read_text()
    [wait] = told["waits"]
    assert wait["resolved_via"].startswith("cli (pid ")


def test_answer_in_text_names_the_process_that_goes_on(app: Path, process: Kitaru):
    exec_id = leave_waiting(process)

    done = process("executions", "input", exec_id, "--value", "false")
    head, status, runner = done.out.splitlines()
    pid = int(runner.split()[3].rstrip(","))
    ended = finish(process, exec_id)
    until_gone(pid)

    assert (done.code, done.err) == (0, "")
    assert head == f"Resolved wait input for execution: {exec_id}"
    assert status in {"  Status: running", "  Status: completed"}
    assert runner.endswith(f"{exec_id}.log")
    assert "approve answered by " in ended.out


def test_aborted_wait_fails_the_flow(app: Path, process: Kitaru):
    exec_id = leave_waiting(process)

    done = process("executions", "input", exec_id, "--wait", "approve", "--abort", "-o", "json")
    ended = finish(process, exec_id)
    until_gone(done.json["item"]["runner_pid"])

    assert (done.code, done.json["item"]["aborted"]) == (0, True)
    assert ended.code == 1
    assert "KitaruWaitAbortedError" in ended.err


def test_process_that_stays_goes_on_itself(app: Path, process: Kitaru):
    running = start("run", "app.py:article", "--input", '{"stay": 600}', "-o", "json")
    assert running.stderr is not None
    told: list[str] = []
    for line in running.stderr:
        told.append(line)
        if "asks: Publish?" in line:
            break
    exec_id = told[[line.startswith("Kitaru: execution") for line in told].index(True)].split()[2]

    answered = process("executions", "input", exec_id, "--value", "true", "-o", "json").json
    out, _ = running.communicate(timeout=DEADLINE_SECONDS)

    assert (answered["item"]["runner_pid"], answered["item"]["runner_log"]) == (None, None)
    assert running.returncode == 0
    assert json.loads(out)["item"]["result"] == "OWLS: True"


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_leaves_a_question_open(app: Path, process: Kitaru):
    running = start("run", "app.py:article", "--input", '{"stay": 600}')
    assert running.stderr is not None
    for line in running.stderr:
        if "asks: Publish?" in line:
            break
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=DEADLINE_SECONDS)
    [item] = process("executions", "list", "-o", "json").json["items"]

    assert (running.returncode, item["status"]) == (130, "waiting")
    assert f"`kitaru executions why {item['exec_id']}` says for what." in err


def test_replay_runs_here_with_what_was_changed(app: Path, process: Kitaru):
    exec_id = leave_waiting(process)
    answered = process("executions", "input", exec_id, "--value", "true", "-o", "json").json
    finish(process, exec_id)
    until_gone(answered["item"]["runner_pid"])
    (app / "overrides.json").write_text('{"wait.approve": false}')

    replayed = process("executions", "replay", exec_id, "--overrides", "@overrides.json")
    asks_again = process(
        *("executions", "replay", exec_id, "--at", "draft", "--args", '{"topic": "cats"}'),
        *("-o", "json"),
    ).json
    unknown = process("executions", "replay", exec_id, "--from", "nothing", "-o", "json")
    diff = process("executions", "diff", exec_id, newest(process, "completed"))

    assert (replayed.code, replayed.out) == (0, "publishing\nOWLS: False\n")
    assert "Kitaru: draft reused\nKitaru: approve overridden\n" in replayed.err
    assert asks_again["command"] == "executions.replay"
    assert (asks_again["item"]["status"], asks_again["item"]["original_exec_id"]) == (
        "waiting",
        exec_id,
    )
    assert unknown.code == 1
    assert "has no call 'nothing'" in json.loads(unknown.err)["error"]["message"]
    assert '"OWLS: True" -> "OWLS: False"' in diff.out


def newest(process: Kitaru, status: str) -> str:
    items = process("executions", "list", "--status", status, "-o", "json").json["items"]
    return items[0]["exec_id"]


def test_resume_goes_on_here_once_nothing_is_waited_for(app: Path, process: Kitaru):
    slept = process("run", "app.py:nap", "--input", '{"seconds": 0.1}', "-o", "json")
    exec_id = slept.json["item"]["exec_id"]
    again = process("executions", "resume", exec_id, "-o", "json")

    assert slept.json["item"]["result"] == "rested"
    assert again.code == 1
    assert json.loads(again.err)["error"]["type"] == "KitaruStateError"


def test_resume_goes_on_with_an_answer_that_nobody_took_up(app: Path, process: Kitaru):
    exec_id = leave_waiting(process)
    (app / "app.py").rename(app / "elsewhere.py")
    answered = process("executions", "input", exec_id, "--value", "true")
    (app / "elsewhere.py").rename(app / "app.py")

    resumed = process("executions", "resume", exec_id)

    assert answered.code == 0
    assert answered.err.startswith("Warning: the answer is recorded, but execution ")
    assert (resumed.code, resumed.out) == (0, "publishing\nOWLS: True\n")


def test_recover_and_retry_may_leave_a_process_waiting(app: Path, process: Kitaru):
    exec_id = leave_waiting(process)
    (app / "app.py").rename(app / "elsewhere.py")
    process("executions", "input", exec_id, "--value", "true")
    asks_twice = APP.replace(
        "    return publish(", '    kitaru.wait(name="again", timeout=0)\n    return publish('
    )
    (app / "app.py").write_text(asks_twice)

    recovered = process("executions", "recover", "-o", "json")
    as_text = process("executions", "recover")

    [item] = recovered.json["items"]
    assert (recovered.code, item["status"], item["pending_wait"]["name"]) == (
        0,
        "waiting",
        "again",
    )
    assert (as_text.code, as_text.out) == (0, "There is nothing to recover.\n")
