"""Command lines that run flows, each in a process of its own, as people start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from textwrap import dedent

import pytest

from tests.cli.conftest import COMMAND, Kitaru

APP = """
import os
import sys
import time
from pathlib import Path

from kitaru import checkpoint, flow


@checkpoint
def shout(word):
    print("shouting", word)
    return word.upper()


@checkpoint
def fragile():
    if not Path("mended").exists():
        raise ValueError("still broken")
    return "mended"


@checkpoint
def hold():
    Path("holding").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return "held"


@flow
def greet(name="you", times=1):
    print("greeting")
    return {"greeting": [shout(name) for _ in range(times)], "raw": b"bytes"}


@flow
def mend():
    shout("a")
    return fragile()


@flow
def patient():
    shout("a")
    hold()
    return shout("b")


not_a_flow = 3
"""


@pytest.fixture
def app(here: Path) -> Path:
    (here / "app.py").write_text(APP)
    return here


def only_id(process: Kitaru) -> str:
    [item] = process("executions", "list", "-o", "json").json["items"]
    return item["exec_id"]


@pytest.mark.slow
def test_run_prints_the_result_and_tells_what_happens(app: Path, process: Kitaru):
    done = process("run", "app.py:greet", "--input", '{"name": "ann", "times": 2}')

    exec_id = only_id(process)
    assert done.code == 0
    assert done.out.startswith("greeting\nshouting ann\nshouting ann\n{\n")
    result = json.loads(done.out[done.out.index("{") :])
    assert result["greeting"] == ["ANN", "ANN"]
    assert result["raw"]["$type"] == "bytes"  # JSON has none: described, not guessed
    told = done.err.splitlines()
    assert told[0] == f"Kitaru: execution {exec_id} of flow 'greet'"
    assert told[-1].startswith("Kitaru: greet completed in ")
    assert all(line.startswith("Kitaru: ") for line in told)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["app.py:greet", "app:greet", "./app.py:greet"])
def test_run_in_json_has_stdout_to_itself(app: Path, process: Kitaru, target: str):
    (app / "input.json").write_text('{"name": "bo"}')

    done = process("run", target, "--input", "@input.json", "-o", "json")

    item = done.json["item"]
    assert (done.code, done.json["command"], item["status"]) == (0, "run", "completed")
    assert item["result"]["greeting"] == ["BO"]
    assert "shouting bo" in done.err


@pytest.mark.slow
def test_run_captures_what_the_flow_prints(app: Path, process: Kitaru):
    process("run", "app.py:greet")

    logs = process("executions", "logs", only_id(process), "--grouped")

    assert logs.out == "flow:\ngreeting\n\ncheckpoint: shout\nshouting you\n"


@pytest.mark.slow
def test_run_with_a_known_key_returns_the_same_execution(app: Path, process: Kitaru):
    first = process("run", "app.py:greet", "--idempotency-key", "k", "-o", "json").json
    second = process("run", "app.py:greet", "--idempotency-key", "k", "-o", "json").json

    assert first["item"]["exec_id"] == second["item"]["exec_id"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokens", "code", "told"),
    [
        (["app.py:nothing"], 1, "has no 'nothing'"),
        (["missing.py:greet"], 1, "does not exist"),
        (["missing_module:greet"], 1, "cannot be imported"),
        (["app.py"], 2, "expected a target like"),
        (["app.py:not_a_flow"], 2, "is no flow but int"),
        (["app.py:greet", "--input", "{"], 2, "to be a JSON object"),
        (["app.py:greet", "--input", "[]"], 2, "to be a JSON object"),
        (["app.py:greet", "--input", "@none.json"], 2, "input file 'none.json' cannot be read"),
        (["app.py:greet", "--input", '{"z": 1}'], 2, "arguments do not fit greet"),
    ],
)
def test_run_of_something_impossible_says_why(
    app: Path, process: Kitaru, tokens: list[str], code: int, told: str
):
    done = process("run", *tokens)

    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("Error: ")
    assert told in done.err


@pytest.mark.slow
def test_failed_run_says_how_to_look_and_to_retry_and_retry_goes_on(app: Path, process: Kitaru):
    failed = process("run", "app.py:mend")
    exec_id = only_id(process)
    still = process("executions", "retry", exec_id, "-o", "json")
    (app / "mended").touch()
    retried = process("executions", "retry", exec_id[:20])

    assert failed.code == still.code == 1
    assert failed.err.endswith(
        dedent(
            f"""\
            Error: execution '{exec_id}' of flow 'mend' failed: ValueError: still broken
              look at it: kitaru executions get {exec_id}
              retry it:   kitaru executions retry {exec_id}
            """
        )
    )
    error = json.loads(still.err.splitlines()[-1])
    assert (error["command"], error["error"]["type"]) == (
        "executions.retry",
        "KitaruUserCodeError",
    )
    assert (retried.code, retried.out) == (0, "mended\n")


def start(*tokens: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *tokens], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )


def wait_until_exists(file: Path) -> None:
    deadline = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < deadline
        os.sched_yield()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_killed_run_is_mentioned_and_recovered(app: Path, process: Kitaru):
    running = start("run", "app.py:patient")
    wait_until_exists(app / "holding")
    running.kill()
    running.communicate()
    (app / "go").touch()

    mentioned = process("executions", "list")
    exec_id = only_id(process)
    recovered = process("executions", "recover", exec_id[:24], "-o", "json")
    logs = process("executions", "logs", exec_id)

    assert mentioned.err == (
        f"1 execution was interrupted (its process {running.pid} on this machine is gone):"
        f" `kitaru executions recover {exec_id}`\n"
    )
    [item] = recovered.json["items"]
    assert (recovered.code, item["status"], item["recoveries"]) == (0, "completed", 1)
    assert (
        logs.out.count("shouting a") <= 1
    )  # not repeated; its line may have died with the process
    assert logs.out.count("shouting b") == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_leaves_a_run_that_goes_on_later(app: Path, process: Kitaru):
    running = start("run", "app.py:patient")
    wait_until_exists(app / "holding")
    running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    for line in running.stderr:
        if "Interrupted" in line:
            break
    (app / "go").touch()
    _, err = running.communicate(timeout=30)
    exec_id = only_id(process)
    recovered = process("executions", "recover")

    assert running.returncode == 130
    assert f"`kitaru executions recover {exec_id}`" in err
    assert recovered.code == 0
    assert "completed" in recovered.out


@pytest.mark.slow
@pytest.mark.parametrize("everything", [[], ["--all"]])
def test_recover_of_nothing_is_no_error(app: Path, process: Kitaru, everything: list[str]):
    done = process("executions", "recover", *everything)

    assert (done.code, done.out, done.err) == (0, "There is nothing to recover.\n", "")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_watch_follows_a_run_of_another_process(app: Path, process: Kitaru):
    running = start("run", "app.py:patient")
    wait_until_exists(app / "holding")
    watching = start("executions", "watch", only_id(process))
    assert watching.stdout is not None
    first = [watching.stdout.readline() for _ in range(2)]
    (app / "go").touch()
    rest, _ = watching.communicate(timeout=30)
    running.communicate(timeout=30)

    assert first[1].startswith("shout completed in ")
    assert rest.splitlines()[-1].startswith("patient completed in ")
    assert watching.returncode == running.returncode == 0


@pytest.mark.slow
def test_script_that_imports_from_the_folder_it_was_run_in_goes_on_from_anywhere(
    process: Kitaru, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "shared").mkdir()
    (here / "shared" / "words.py").write_text("WORD = 'tea'\n")
    (here / "flows").mkdir()
    (here / "flows" / "app.py").write_text(
        "from kitaru import flow\n"
        "from shared.words import WORD\n"
        "@flow\n"
        "def say():\n"
        "    return WORD\n"
    )
    ran = process("run", "flows/app.py:say", "-o", "json").json["item"]
    monkeypatch.chdir(here.parent)

    replayed = process("executions", "replay", ran["exec_id"], "-o", "json").json["item"]

    assert replayed["result"] == "tea"
    assert replayed["original_exec_id"] == ran["exec_id"]
