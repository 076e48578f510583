"""Questions on the command line, as stores have them; `test_answers.py` has the processes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kitaru.model import (
    CallKind,
    CallStatus,
    ExecutionStatus,
    Outcome,
    Resolution,
    WaitKind,
    WaitRecord,
    WaitStatus,
)
from kitaru.store import Store
from tests.cli.conftest import COMMAND, Kitaru
from tests.client.journal import SECOND, START, Book, kept


@pytest.fixture
def asking(store: Store) -> Book:
    """An execution that has left its process, which asks; its code cannot be had here."""
    book = Book.begin(store, id="0197-asking")
    book.call("plan")
    book.ask(metadata='{"pr":7}')
    return book


def answer(store: Store, book: Book, name: str = "approve", value: str = "true") -> None:
    resolution = Resolution(
        status=WaitStatus.ANSWERED, answer=value, by="ada@host", via="cli (pid 7)"
    )
    store.resolve_wait(book.id, f"wait:{name}#1", resolution, now=START + 5 * SECOND)


def test_list_says_what_waiting_executions_wait_for(kitaru: Kitaru, store: Store, asking: Book):
    both = Book.begin(store, id="0198-both", at=1)
    both.ask("left", leaves=False)
    both.ask("right")
    asleep = Book.begin(store, id="0199-asleep", at=2)
    sleep(asleep)

    done = kitaru("executions", "list")
    item = kitaru("executions", "list", "-o", "json").json["items"][-1]

    assert [line.split("   ")[2] for line in done.out.splitlines()[3:]] == [
        "waiting for 'nap'",
        "waiting for left, right",
        "waiting for approve",
    ]
    assert item["pending_wait"]["question"] == "Ship it?"


def sleep(book: Book, *, wake_at: int = START + 3600 * SECOND) -> None:
    book.call("nap", seconds=None, position="timer:nap#1", kind=CallKind.TIMER, type="timer")
    timer = WaitRecord(
        exec_id=book.id,
        position="timer:nap#1",
        wait_id="nap",
        name="nap",
        kind=WaitKind.TIMER,
        wake_at=wake_at,
        created_at=START + SECOND,
    )
    outcome = Outcome(
        status=ExecutionStatus.WAITING, reason="waiting for 'nap'", waits_for=("timer:nap#1",)
    )
    book.write(waits=(timer,), outcome=outcome)


def test_get_shows_what_is_asked_and_how_to_answer(kitaru: Kitaru, asking: Book):
    done = kitaru("executions", "get", "0197")

    assert done.out == (
        "Kitaru execution\n"
        "  Execution ID: 0197-asking\n"
        "  Flow: audit\n"
        "  Status: waiting\n"
        "  Waits for: approve (Ship it?)\n"
        "  Started: 2026-01-01 00:00:00\n"
        "  Ended: -\n"
        "  Stack: local\n"
        "\n"
        "Checkpoints\n"
        "  plan      completed   0.50 s\n"
        "  approve   waiting     asks: Ship it?\n"
        "\n"
        "Answer with\n"
        "  kitaru executions input 0197-asking --wait approve --value true\n"
    )


def test_get_shows_a_sleep_with_its_end(kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-asleep")
    sleep(book)

    done = kitaru("executions", "get", "0197")
    [call] = kitaru("executions", "get", "0197", "-o", "json").json["item"]["checkpoints"]

    assert done.out.endswith("  nap   waiting     sleeps until 2026-01-01 01:00:00\n")
    assert call["wakes_at"] == "2026-01-01T01:00:00+00:00"


def test_get_shows_who_answered_what(kitaru: Kitaru, store: Store, asking: Book):
    answer(store, asking)

    done = kitaru("executions", "get", "0197")
    [wait] = kitaru("executions", "get", "0197", "-o", "json").json["item"]["waits"]

    assert "  approve   waiting     answered by ada@host: true\n" in done.out
    assert "Answer with" not in done.out
    assert (wait["status"], wait["answer"], wait["resolved_by"], wait["resolved_via"]) == (
        "answered",
        True,
        "ada@host",
        "cli (pid 7)",
    )


def test_get_tells_the_calls_and_the_origin_of_a_replay(kitaru: Kitaru, store: Store):
    origin = Book.begin(store, id="0197-origin")
    origin.call("plan")
    origin.call("draft")
    origin.end(ExecutionStatus.COMPLETED)
    replay = Book.begin(store, id="0198-replay", origin_id="0197-origin")
    reused = kept("result of plan")
    replay.call("plan", status=CallStatus.REUSED, cached_from="0197-origin/plan#1", output=reused)
    replay.call(
        "draft",
        status=CallStatus.OVERRIDDEN,
        cached_from="0197-origin/draft#1",
        output=kept("mine"),
    )

    shown = kitaru("executions", "get", "0198").out

    assert "  Replays: 0197-origin\n" in shown
    assert shown.endswith(
        "  plan    completed   0.50 s  reused from 0197-origin/plan\n"
        "  draft   completed   0.50 s  overridden, in place of 0197-origin/draft\n"
    )


def test_status_counts_what_is_open(kitaru: Kitaru, asking: Book):
    assert "  Open waits: 1 (answer with `kitaru executions input --interactive`)\n" in (
        kitaru("status").out
    )
    assert kitaru("status", "-o", "json").json["item"]["open_waits"] == 1


@pytest.mark.parametrize(
    ("tokens", "code", "told"),
    [
        (["0197", "--value", "yes"], 2, "got: 'yes'. Text goes in double quotes: '\"yes\"'"),
        (["0197", "--value", '"yes"'], 2, 'expected yes or no, got: "yes". The wait stays open'),
        (["0197", "--wait", "other", "--abort"], 1, "It waits for: 'approve'."),
        (["0198", "--abort"], 1, "waits for 2 answers: 'left', 'right'. Say which with `--wait`"),
        (["0199", "--value", "1"], 1, "is completed and asks nothing."),
        (["nope", "--value", "1"], 1, "no execution's id begins with 'nope'"),
        (["0197"], 2, "expected one of `--value`, which is the answer as JSON, and `--abort`."),
        (["-i", "--value", "1"], 2, "leave out `--wait`, `--value`, `--abort`"),
        (["-i"], 2, "`--interactive` needs a terminal."),
    ],
)
def test_input_that_answers_nothing_says_why(
    kitaru: Kitaru, store: Store, asking: Book, tokens: list[str], code: int, told: str
):
    both = Book.begin(store, id="0198-both")
    both.ask("left", leaves=False)
    both.ask("right")
    Book.begin(store, id="0199-over").end(ExecutionStatus.COMPLETED)

    as_text = kitaru("executions", "input", *tokens)
    as_json = kitaru("executions", "input", *tokens, "-o", "json")

    assert (as_text.code, as_text.out) == (code, "")
    assert told in as_text.err
    assert (as_json.code, as_json.out) == (code, "")
    assert json.loads(as_json.err)["command"] == "executions.input"


def test_answer_is_kept_although_the_code_is_not_here(kitaru: Kitaru, asking: Book):
    done = kitaru("executions", "input", "0197", "--value", "true")

    assert done.code == 0
    assert done.out == ("Resolved wait input for execution: 0197-asking\n  Status: pending\n")
    assert done.err.startswith(
        "Warning: the answer is recorded, but execution 0197-asking does not go on: "
    )
    assert "interrupted" not in done.err  # the warning has said what is to be done


def test_aborting_in_json_shows_the_execution_and_what_was_done(kitaru: Kitaru, asking: Book):
    done = kitaru("executions", "input", "0197", "--wait", "approve", "--abort", "-o", "json")

    item = done.json["item"]
    [wait] = item["waits"]
    assert (done.code, done.json["command"]) == (0, "executions.input")
    assert wait["status"] == "aborted"
    assert (item["exec_id"], item["status"], item["resolved_wait"], item["aborted"]) == (
        "0197-asking",
        "pending",
        "approve",
        True,
    )
    assert (item["runner_pid"], item["runner_log"]) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["text", "json"])
def test_following_logs_tells_an_open_question_once_and_goes_on(
    store: Store, asking: Book, output: str
):
    asking.log("asking")

    with subprocess.Popen(
        [*COMMAND, "executions", "logs", "0197", "--follow", "-o", output],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as following:
        assert following.stdout is not None
        told = [following.stdout.readline(), following.stdout.readline()]
        store.request_cancel(asking.id, by="ada@host", now=START + 9 * SECOND)
        told += following.stdout.readlines()

    assert following.returncode == 1
    if output == "text":
        assert told[:2] == ["asking\n", "[Execution is waiting for input on: approve]\n"]
        assert told[2].startswith("Error: execution '0197-asking' of flow 'audit' was cancelled")
        return
    events = [json.loads(line) for line in told]
    assert [event.get("event") for event in events[:3]] == ["log", "waiting", "terminal"]
    assert events[1]["item"] == {
        "wait_id": "approve",
        "wait_name": "approve",
        "question": "Ship it?",
    }


def test_following_grouped_logs_names_each_call_that_begins_to_write(
    kitaru: Kitaru, asking: Book, store: Store
):
    asking.log("one", position="plan#1")
    asking.log("two", position="plan#1")
    asking.log("three")
    asking.log("four", position="plan#1")
    store.request_cancel(asking.id, by="ada@host", now=START + 9 * SECOND)

    done = kitaru("executions", "logs", "0197", "--follow", "--grouped")

    assert done.out == ("checkpoint: plan\none\ntwo\n\nflow:\nthree\n\ncheckpoint: plan\nfour\n")


def test_why_tells_what_is_waited_for_and_the_command(kitaru: Kitaru, asking: Book):
    as_text = kitaru("executions", "why", "0197").out
    as_json = kitaru("executions", "why", "0197", "-o", "json").json

    told, command = as_text.splitlines()
    assert "waits for 'approve' since " in told
    assert command == "  kitaru executions input 0197-asking --wait approve --value true"
    assert as_json["command"] == "executions.why"
    assert (as_json["item"]["reason"], as_json["item"]["next_steps"]) == ("asks", [command.strip()])


def test_diff_shows_what_became_of_each_call(kitaru: Kitaru, store: Store):
    for number, note in ((7, "a"), (8, "b")):
        book = Book.begin(store, id=f"019{number}-run")
        book.call("plan")
        book.call("draft", output=kept(note))
        book.end(ExecutionStatus.COMPLETED)

    as_text = kitaru("executions", "diff", "0197", "0198").out
    as_json = kitaru("executions", "diff", "0197", "0198", "-o", "json").json

    assert "calls: 1 same" in as_text
    assert 'output "a" -> "b"' in as_text
    assert as_json["command"] == "executions.diff"
    assert (as_json["item"]["same"], as_json["item"]["changed"]) == (1, 1)


def test_statistics_measure_flows_and_checkpoints(kitaru: Kitaru, store: Store):
    book = Book.begin(store)
    book.call("plan")
    book.end(ExecutionStatus.COMPLETED)

    as_text = kitaru("executions", "statistics", "--since", "2026-01-01")
    later = kitaru("executions", "statistics", "--since", "1d", "--flow", "audit")
    as_json = kitaru("executions", "statistics", "-o", "json").json

    assert as_text.out == (
        "Kitaru statistics\n"
        "  Flow    Runs   Success   Median   95 of 100   Longest   Recoveries   Waits\n"
        "  -----   ----   -------   ------   ---------   -------   ----------   -----\n"
        "  audit   1      100%      4.0 s    4.0 s       4.0 s     0            -\n"
        "\n"
        "audit\n"
        "  Checkpoint   Calls   Failed   Cached   Reused   Failed tries   Median   Longest\n"
        "  ----------   -----   ------   ------   ------   ------------   ------   -------\n"
        "  plan         1       0        0        0        0              0.50 s   0.50 s\n"
    )
    assert later.out == "Kitaru statistics: none found\n"
    assert as_json["command"] == "executions.statistics"
    assert as_json["item"]["flows"][0]["executions"] == 1


def test_execution_is_exported_and_brought_back(here: Path, kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-audit")
    book.call("plan")
    book.end(ExecutionStatus.COMPLETED)

    exported = kitaru("executions", "export", "0197", "audit.kitaru")
    taken = kitaru("executions", "export", "0197", "audit.kitaru", "-o", "json")
    again = kitaru("executions", "export", "0197", "audit.kitaru", "--overwrite", "-o", "json")
    kitaru("executions", "delete", "0197")
    imported = kitaru("executions", "import", "audit.kitaru")
    twice = kitaru("executions", "import", "audit.kitaru", "-o", "json")
    kitaru("executions", "delete", "0197")
    as_json = kitaru("executions", "import", "audit.kitaru", "-o", "json").json

    file = Path("audit.kitaru")
    assert exported.out.startswith("Exported execution: 0197-audit\n  File: audit.kitaru (")
    assert taken.code == 2
    assert "`--overwrite`" in taken.err
    assert again.json == {
        "command": "executions.export",
        "item": {"exec_id": "0197-audit", "path": "audit.kitaru", "size": file.stat().st_size},
    }
    assert imported.out == ("Imported execution: 0197-audit\n  Flow: audit\n  Status: completed\n")
    assert twice.code == 1
    assert (as_json["command"], as_json["item"]["exec_id"]) == ("executions.import", "0197-audit")


@pytest.mark.parametrize("command", ["resume", "recover"])
def test_what_still_waits_cannot_be_continued(kitaru: Kitaru, asking: Book, command: str):
    done = kitaru("executions", command, "0197")

    assert (done.code, done.out) == (1, "")
    assert "waits for an answer to 'approve'" in done.err


@pytest.mark.parametrize(
    ("tokens", "code", "told"),
    [
        (["--args", "[]"], 2, "expected `--args` to be a JSON object"),
        (["--overrides", "@none.json"], 2, "input file 'none.json' cannot be read"),
        ([], 1, "cannot go on here"),
    ],
)
def test_replay_of_something_impossible_says_why(
    kitaru: Kitaru, asking: Book, tokens: list[str], code: int, told: str
):
    done = kitaru("executions", "replay", "0197", *tokens)

    assert (done.code, done.out) == (code, "")
    assert told in done.err
