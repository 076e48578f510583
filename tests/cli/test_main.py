from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import kitaru as package
from kitaru.errors import KitaruStateError
from kitaru.model import Claim, ExecutionStatus, Outcome
from kitaru.store import Store
from tests.cli.conftest import COMMAND, Kitaru
from tests.client.journal import START, Book


def test_help_names_every_noun_and_imports_no_command(process: Kitaru):
    done = process("--help")

    assert done.code == 0
    for noun in ("executions", "run", "status", "info", "config", "db", "clean", "init"):
        assert noun in done.out


def test_help_needs_neither_store_nor_engine(here: Path):
    program = (
        "import sys; from kitaru.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('kitaru.store.', 'kitaru.engine', 'kitaru.client', 'sqlite3', 'pydantic', 'msgspec')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])\n"
    )

    done = subprocess.run(
        [COMMAND[0], "-c", program], capture_output=True, encoding="utf-8", check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_is_shown(process: Kitaru, option: str):
    assert process(option).out == f"{package.__version__}\n"


@pytest.mark.parametrize(
    "tokens",
    [
        ["bogus"],
        ["executions", "bogus"],
        ["status", "--bogus"],
        ["executions", "get"],
        ["status", "--output", "yaml"],
        ["executions", "list", "--size", "many"],
        ["executions", "list", "--size", "0"],
        ["executions", "list", "--status", "done"],
        ["executions", "recover", "--all", "0197"],
        ["executions", "input"],
        ["executions", "input", "x"],
        ["executions", "input", "x", "--value", "1", "--abort"],
        ["executions", "input", "-i", "--abort"],
        ["executions", "input", "-i", "-o", "text"],  # nobody sits at a terminal
        ["executions", "statistics", "--since", "soon"],
    ],
)
def test_mistaken_command_line_ends_with_2(kitaru: Kitaru, tokens: list[str]):
    done = kitaru(*tokens)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: ")


@pytest.mark.parametrize("option", [["--output", "json"], ["-o", "json"], ["--output=json"]])
def test_errors_are_json_where_json_was_asked_for(kitaru: Kitaru, option: list[str]):
    done = kitaru("executions", "get", "nope", *option)

    assert (done.code, done.out) == (1, "")
    assert json.loads(done.err) == {
        "command": "executions.get",
        "error": {
            "type": "KitaruNotFoundError",
            "message": (
                "no execution's id begins with 'nope'. `kitaru executions list` shows them."
            ),
        },
    }


def test_error_of_ours_is_one_line_on_stderr(kitaru: Kitaru):
    done = kitaru("executions", "get", "nope")

    assert done.err == (
        "Error: no execution's id begins with 'nope'. `kitaru executions list` shows them.\n"
    )


def test_bad_settings_are_told_as_such(kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KITARU_RETRIES", "x")

    done = kitaru("status")

    assert (done.code, done.err) == (
        2,
        "Error: expected KITARU_RETRIES to be a whole number, 0 or more, got: 'x'\n",
    )


def test_run_of_a_file_that_does_not_exist_says_only_that(here: Path, kitaru: Kitaru):
    done = kitaru("run", "nope.py:x")

    assert (done.code, done.err) == (
        1,
        f"Error: the file '{here / 'nope.py'}' does not exist; there is no 'x' to run.\n",
    )


def test_unexpected_error_says_how_to_see_where(kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("kitaru.client.executions.Executions.get", fail)

    done = kitaru("executions", "get", "x")

    assert (done.code, done.err) == (
        1,
        "Error: ZeroDivisionError: by zero\n"
        "This was not expected. Set KITARU_DEBUG=true to see where it happened.\n",
    )


def test_debugging_shows_where_an_error_came_from(kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KITARU_DEBUG", "true")

    done = kitaru("executions", "get", "nope")

    assert "Traceback (most recent call last):" in done.err
    assert "Error: no execution's id begins with 'nope'." in done.err


def test_ctrl_c_ends_with_130(kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kitaru.client.executions.Executions.get", interrupt)

    assert kitaru("executions", "get", "x").code == 130


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX pipe")
def test_reader_that_has_seen_enough_is_no_error(here: Path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        done = subprocess.run(
            [*COMMAND, "config", "show"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (141, "")


def test_interrupted_executions_are_mentioned_after_a_command(
    kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch
):
    from kitaru.client.upkeep import Interruption, Upkeep

    lost = Interruption(exec_id="abc", flow_name="audit", reason="its process 7 is gone")
    found = [lost]
    monkeypatch.setattr(Upkeep, "find_interrupted", lambda _: found)

    one = kitaru("executions", "list")
    as_json = kitaru("executions", "list", "-o", "json")
    found.append(lost)
    two = kitaru("executions", "list")

    assert one.err == (
        "1 execution was interrupted (its process 7 is gone): `kitaru executions recover abc`\n"
    )
    assert two.err == (
        "2 executions were interrupted (the oldest: its process 7 is gone):"
        " `kitaru executions recover`\n"
    )
    assert as_json.err == ""


def test_only_interrupted_executions_of_the_project_are_mentioned(kitaru: Kitaru, store: Store):
    lost = Claim(owner="gone", lease_expires_at=START)
    Book.begin(store, id="0197-other", project="other", claim=lost)

    elsewhere = kitaru("executions", "list")
    Book.begin(store, id="0198-mine", at=2, claim=lost)
    given_back = Book.begin(store, id="0199-mine", at=1)
    given_back.write(outcome=Outcome(status=ExecutionStatus.PENDING))
    here = kitaru("executions", "list")

    assert elsewhere.err == ""
    assert here.err == (
        "2 executions were interrupted (the oldest: it was stopped before its end):"
        " `kitaru executions recover`\n"
    )


def test_looking_for_interrupted_executions_never_fails_a_command(
    kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch
):
    def fail(_: object) -> None:
        raise KitaruStateError("broken")

    monkeypatch.setattr("kitaru.client.upkeep.Upkeep.find_interrupted", fail)

    done = kitaru("executions", "list")

    assert (done.code, done.err) == (0, "")
