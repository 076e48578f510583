from __future__ import annotations

import json
from textwrap import dedent
from typing import Any

import pytest

from kitaru.model import CallKind, CallStatus, ExecutionStatus, LogSource
from kitaru.store import Store
from tests.cli.conftest import Kitaru
from tests.client.journal import SECOND, START, Book, failure, kept


def text(block: str) -> str:
    return dedent(block).lstrip("\n")


@pytest.fixture
def audit(store: Store) -> Book:
    """A finished run with a bit of everything."""
    book = Book.begin(store, id="0197-audit", tags=("nightly",))
    book.call("plan", metadata={"tokens": "12"})
    book.call(
        "ask",
        type="llm_call",
        at=2,
        seconds=1.5,
        upstreams=("plan#1",),
        attempts=[book.failed_attempt("ask#1", 1, at=2)],
        saved=[book.artifact("ask#1", "notes", "n")],
    )
    book.end(ExecutionStatus.COMPLETED)
    return book


def test_list_shows_a_table(kitaru: Kitaru, store: Store, audit: Book):
    Book.begin(store, "report", id="0198-report", at=60)

    done = kitaru("executions", "list")

    assert done.out == text(
        """
        Kitaru executions
          ID            Flow     Status      Started               Ended                 Stack
          -----------   ------   ---------   -------------------   -------------------   -----
          0198-report   report   running     2026-01-01 00:01:00   -                     local
          0197-audit    audit    completed   2026-01-01 00:00:00   2026-01-01 00:00:04   local
        """
    )


def test_list_of_nothing_says_so(kitaru: Kitaru):
    assert kitaru("executions", "list").out == "Kitaru executions: none found\n"


def test_list_pages_and_says_how_many_there_are(kitaru: Kitaru, store: Store):
    for number in range(5):
        Book.begin(store, at=number)

    done = kitaru("executions", "list", "--size", "2", "--page", "3")

    assert done.out.splitlines()[-1] == "Page 3 (size 2, showing 1 of 5)"


def test_list_in_json_is_one_line_of_summaries(kitaru: Kitaru, audit: Book):
    assert kitaru("executions", "list", "--flow", "audit", "-o", "json").json == {
        "command": "executions.list",
        "items": [
            {
                "exec_id": "0197-audit",
                "flow_id": "app.flows:audit",
                "flow_name": "audit",
                "status": "completed",
                "created_at": "2026-01-01T00:00:00+00:00",
                "started_at": "2026-01-01T00:00:00+00:00",
                "ended_at": "2026-01-01T00:00:04+00:00",
                "stack_name": "local",
                "status_reason": None,
                "original_exec_id": None,
                "pending_wait": None,
                "failure": None,
                "metadata": {},
                "tags": ["nightly"],
                "parent_exec_id": None,
                "checkpoint_count": 0,
                "artifact_count": 0,
            }
        ],
        "count": 1,
    }


def test_get_in_json_has_everything(kitaru: Kitaru, audit: Book):
    done = kitaru("executions", "get", "0197", "-o", "json").json

    assert done["command"] == "executions.get"
    item = done["item"]
    assert list(item) == [
        "exec_id",
        "flow_id",
        "flow_name",
        "status",
        "created_at",
        "started_at",
        "ended_at",
        "stack_name",
        "status_reason",
        "original_exec_id",
        "pending_wait",
        "failure",
        "metadata",
        "tags",
        "parent_exec_id",
        "checkpoint_count",
        "artifact_count",
        "recoveries",
        "cancel_requested_at",
        "cancel_requested_by",
        "frozen_execution_spec",
        "pending_waits",
        "waits",
        "checkpoints",
        "artifacts",
    ]
    assert (item["checkpoint_count"], item["artifact_count"]) == (2, 3)
    plan, ask = item["checkpoints"]
    size = plan["artifacts"][0]["metadata"]["size"]
    assert plan == {
        "call_id": "plan",
        "name": "plan",
        "checkpoint_type": None,
        "status": "completed",
        "started_at": "2026-01-01T00:00:01+00:00",
        "ended_at": "2026-01-01T00:00:01.500000+00:00",
        "duration_seconds": 0.5,
        "metadata": {"tokens": 12},
        "original_call_id": None,
        "position": "plan#1",
        "is_overridden": False,
        "is_reused": False,
        "wakes_at": None,
        "parent_call_ids": [],
        "child_exec_id": None,
        "failure": None,
        "attempts": [
            {
                "attempt_id": "0197-audit/plan/1",
                "number": 1,
                "status": "completed",
                "started_at": "2026-01-01T00:00:01+00:00",
                "ended_at": "2026-01-01T00:00:01.500000+00:00",
                "metadata": {},
                "failure": None,
            }
        ],
        "artifacts": [
            {
                "artifact_id": "0197-audit/plan/output",
                "name": "plan",
                "kind": None,
                "save_type": "step_output",
                "producing_call": "plan",
                "metadata": {"size": size, "codec": "kitaru/1"},
                "tags": [],
                "attempt_failed": False,
                "created_at": "2026-01-01T00:00:01.500000+00:00",
            }
        ],
    }
    assert ask["attempts"][0]["failure"] == {
        "message": "try 1",
        "exception_type": "builtins.ValueError",
        "traceback": ('Traceback (most recent call last):\n  File "app.py"\nValueError: try 1\n'),
        "origin": "user_code",
    }


def test_get_shows_the_checkpoints(kitaru: Kitaru, audit: Book):
    assert kitaru("executions", "get", "0197").out == text(
        """
        Kitaru execution
          Execution ID: 0197-audit
          Flow: audit
          Status: completed in 4.0 s
          Started: 2026-01-01 00:00:00
          Ended: 2026-01-01 00:00:04
          Stack: local
          Tags: nightly

        Checkpoints
          plan   completed   0.50 s
          ask    completed   1.5 s  2 attempts
        """
    )


def test_get_shows_why_an_execution_failed(kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-broken")
    book.call("parse", status=CallStatus.FAILED, failure=failure("line 3\nis odd"))
    book.end(ExecutionStatus.FAILED, failure=failure("line 3\nis odd"))

    assert kitaru("executions", "get", "0197").out == text(
        """
        Kitaru execution
          Execution ID: 0197-broken
          Flow: audit
          Status: failed in 4.0 s
          Failure: ValueError: line 3 is odd
          Started: 2026-01-01 00:00:00
          Ended: 2026-01-01 00:00:04
          Stack: local

        Traceback
          Traceback (most recent call last):
            File "app.py"
          ValueError: line 3
          is odd

        Checkpoints
          parse   failed      0.50 s  ValueError: line 3 is odd
        """
    )


def test_get_sums_up_fan_outs_and_shows_tasks_children_and_reuse(kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-wide")
    book.call("plan")
    for number in range(120):
        fate: dict[str, Any] = {}
        if number == 17:
            fate = {"status": CallStatus.FAILED, "failure": failure()}
        book.call(
            "report",
            position=f"report#{number + 1}",
            call_id=f"report-{number + 1}",
            upstreams=("plan#1",),
            seconds=None if number == 119 else 0.02 + number / 100,
            **fate,
        )
    for number in (1, 2):
        book.call("score", position=f"score#{number}", call_id=f"score-{number}")
    for task in (0, 1):
        book.call("ask", position=f"{task}/ask#1", call_id=f"ask-{task}")
        book.call("judge", position=f"{task}/judge#1", call_id=f"judge-{task}")
    book.call("sub", kind=CallKind.CHILD, output=kept("c"))
    Book.begin(store, "sub", id="0198-sub", parent_id=book.id, parent_position="sub#1")
    book.call("sum", status=CallStatus.CACHED, cached_from="0196-old/sum#1")

    _, shown = kitaru("executions", "get", "0197").out.split("Checkpoints\n")

    assert shown == (
        "  plan          completed   0.50 s\n"
        "  report \u00d7120   failed      118 completed, 1 failed, 1 running, 0.02\u20131.2 s\n"
        "    report-18   failed      0.19 s  ValueError: bad input\n"
        "  score \u00d72      completed   2 completed, 0.50 s\n"
        "    score-1     completed   0.50 s\n"
        "    score-2     completed   0.50 s\n"
        "  task 0\n"
        "    ask-0       completed   0.50 s\n"
        "    judge-0     completed   0.50 s\n"
        "  task 1\n"
        "    ask-1       completed   0.50 s\n"
        "    judge-1     completed   0.50 s\n"
        "  sub           running     execution 0198-sub\n"
        "  sum           completed   0.50 s  cached from 0196-old/sum#1\n"
    )


def test_many_tasks_that_do_the_same_are_summed_up(kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-wide")
    for task in range(30):
        book.call("ask", position=f"{task}/ask#1", call_id=f"ask-{task}")
        book.call("judge", position=f"{task}/judge#1", call_id=f"judge-{task}", at=2)

    _, shown = kitaru("executions", "get", "0197").out.split("Checkpoints\n")

    assert shown == "  task \u00d730   completed   30 completed, 1.5 s\n"


def test_tasks_of_one_call_are_a_fan_out(kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-wide")
    for task in range(2):
        book.call("ask", position=f"{task}/ask#1", call_id=f"ask-{task}")

    _, shown = kitaru("executions", "get", "0197").out.split("Checkpoints\n")

    assert shown == (
        "  ask \u00d72    completed   2 completed, 0.50 s\n"
        "    ask-0   completed   0.50 s\n"
        "    ask-1   completed   0.50 s\n"
    )


def test_logs_are_shown_plainly(kitaru: Kitaru, audit: Book):
    audit.log("\x1b[31mred\x1b[0m letters")
    audit.log("asking", position="ask#1")

    assert kitaru("executions", "logs", "0197").out == "red letters\nasking\n"


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        (
            "-v",
            "2026-01-01 00:00:01.000000 STDOUT  said\n2026-01-01 00:00:01.000000 ERROR   logged\n",
        ),
        (
            "-vv",
            "2026-01-01 00:00:01.000000 STDOUT  said\n"
            "2026-01-01 00:00:01.000000 ERROR   [app] logged\n",
        ),
        ("--source=runner", "said\n"),
        ("--source=step", "logged\n"),
        ("--checkpoint=ask", "logged\n"),
        ("--limit=1", "said\n"),
        ("--grouped", "flow:\nsaid\n\ncheckpoint: ask\nlogged\n"),
        ("--follow", "said\nlogged\n"),
    ],
)
def test_logs_can_be_shown_in_other_ways(kitaru: Kitaru, audit: Book, option: str, shown: str):
    audit.log("said")
    audit.log("logged", position="ask#1", source=LogSource.LOGGING, level="ERROR", logger="app")

    assert kitaru("executions", "logs", "0197", option).out == shown


def test_logs_in_json_leave_out_what_is_not_known(kitaru: Kitaru, audit: Book):
    audit.log("said", logged_at=START + 2 * SECOND)

    assert kitaru("executions", "logs", "0197", "-o", "json").json == {
        "command": "executions.logs",
        "items": [
            {"message": "said", "timestamp": "2026-01-01T00:00:02+00:00", "source": "stdout"}
        ],
        "count": 1,
    }


def test_followed_logs_in_json_are_a_line_each_and_the_end(kitaru: Kitaru, audit: Book):
    audit.log("said")

    done = kitaru("executions", "logs", "0197", "--follow", "-o", "json")

    assert [json.loads(line) for line in done.out.splitlines()] == [
        {
            "command": "executions.logs",
            "event": "log",
            "item": {
                "message": "said",
                "timestamp": "2026-01-01T00:00:01+00:00",
                "source": "stdout",
            },
        },
        {
            "command": "executions.logs",
            "event": "terminal",
            "item": {"status": "completed", "message": "execution completed"},
        },
    ]


def test_following_the_logs_of_a_failed_execution_fails(kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-broken")
    book.log("said")
    book.end(ExecutionStatus.FAILED)

    as_text = kitaru("executions", "logs", "0197", "--follow")
    as_json = kitaru("executions", "logs", "0197", "--follow", "-o", "json")

    assert (as_text.code, as_text.out) == (1, "said\n")
    assert as_text.err.startswith("Error: execution '0197-broken' of flow 'audit' failed: ")
    assert as_json.code == 1
    assert json.loads(as_json.out.splitlines()[-1])["item"] == {
        "status": "failed",
        "message": "execution failed",
        "recovery_command": "kitaru executions retry 0197-broken",
    }


def test_following_logs_up_to_a_limit_does_not_wait_for_the_end(kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-running")
    book.log("one")
    book.log("two")

    done = kitaru("executions", "logs", "0197", "--follow", "--limit", "1")

    assert (done.code, done.out, done.err) == (0, "one\n", "")


def test_execution_that_said_nothing_has_no_logs(kitaru: Kitaru, audit: Book):
    done = kitaru("executions", "logs", "0197")

    assert done.out == "No log entries found for execution 0197.\n"


def test_cancel_says_what_became_of_it(kitaru: Kitaru, store: Store):
    Book.begin(store, id="0197-waiting", claim=None)
    Book.begin(store, id="0198-running")

    stopped = kitaru("executions", "cancel", "0197")
    asked = kitaru("executions", "cancel", "0198")

    assert stopped.out == "Cancelled execution: 0197-waiting\n  Status: cancelled\n"
    assert asked.out == "Asked execution to stop: 0198-running\n  Status: running\n"


def test_cancelled_execution_shows_who_cancelled_it_and_when(kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-cancelled")
    store.request_cancel(book.id, by="ada@host", now=START + 2 * SECOND)
    asked = kitaru("executions", "get", "0197")
    book.end(ExecutionStatus.CANCELLED, reason="cancelled")

    shown = kitaru("executions", "get", "0197")
    item = kitaru("executions", "get", "0197", "-o", "json").json["item"]
    watched = kitaru("executions", "watch", "0197")

    assert "\n  Cancel requested: 2026-01-01 00:00:02 by ada@host\n" in asked.out
    assert "\n  Cancelled: 2026-01-01 00:00:02 by ada@host\n" in shown.out
    assert "Reason" not in shown.out
    assert (item["cancel_requested_at"], item["cancel_requested_by"], item["status_reason"]) == (
        "2026-01-01T00:00:02+00:00",
        "ada@host",
        None,
    )
    assert watched.err.startswith(
        "Error: execution '0197-cancelled' of flow 'audit' was cancelled by ada@host.\n"
    )


def test_call_that_was_cut_off_by_its_flows_failure_says_so(kitaru: Kitaru, store: Store):
    book = Book.begin(store, id="0197-broken")
    book.call("slow", seconds=None)
    book.end(ExecutionStatus.FAILED)

    shown = kitaru("executions", "get", "0197")
    item = kitaru("executions", "get", "0197", "-o", "json").json["item"]
    watched = kitaru("executions", "watch", "0197")

    assert "\n  slow   failed      cut off when the flow failed\n" in shown.out
    assert [call["status"] for call in item["checkpoints"]] == ["failed"]
    assert "slow failed - cut off when the flow failed\n" in watched.out


def test_cancel_of_a_finished_execution_is_refused(kitaru: Kitaru, audit: Book):
    done = kitaru("executions", "cancel", "0197", "-o", "json")

    assert done.code == 1
    assert json.loads(done.err)["error"]["type"] == "KitaruStateError"


def test_delete_names_what_is_gone(kitaru: Kitaru, audit: Book):
    done = kitaru("executions", "delete", "0197", "-o", "json")

    assert done.json == {
        "command": "executions.delete",
        "item": {"exec_id": "0197-audit", "deleted": True},
    }
    assert kitaru("executions", "get", "0197").code == 1


def test_watch_of_a_finished_execution_tells_how_it_went(kitaru: Kitaru, audit: Book):
    assert kitaru("executions", "watch", "0197").out == text(
        """
        execution 0197-audit of flow 'audit'
        plan completed in 0.50 s
        ask completed in 1.5 s (attempt 2)
        audit completed in 4.0 s
        """
    )


def test_watch_of_a_failed_execution_fails(kitaru: Kitaru, store: Store):
    Book.begin(store, id="0197-broken").end(ExecutionStatus.FAILED)

    done = kitaru("executions", "watch", "0197")

    assert (done.code, done.err) == (
        1,
        "Error: execution '0197-broken' of flow 'audit' failed: ValueError: bad input\n"
        "  look at it: kitaru executions get 0197-broken\n"
        "  retry it:   kitaru executions retry 0197-broken\n",
    )


def test_watch_in_json_is_the_finished_execution(kitaru: Kitaru, audit: Book):
    done = kitaru("executions", "watch", "0197", "-o", "json").json

    assert (done["command"], done["item"]["status"]) == ("executions.watch", "completed")


def test_retry_of_an_execution_that_has_not_failed_is_refused(kitaru: Kitaru, audit: Book):
    done = kitaru("executions", "retry", "0197")

    assert done.code == 1
    assert "only failed executions can be retried" in done.err
