"""`why`: the whole text of each state that an execution can be in."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from kitaru import settings
from kitaru.client import Explanation, KitaruClient, WhyReason, shapes
from kitaru.client.connection import Connection
from kitaru.client.executions import Executions
from kitaru.client.waiting import example
from kitaru.client.wording import one_line, span
from kitaru.engine.owner import current_owner
from kitaru.model import (
    AttemptRecord,
    CallKind,
    CallStatus,
    Claim,
    ExecutionStatus,
    Outcome,
    Resolution,
    WaitKind,
    WaitRecord,
    WaitStatus,
)
from kitaru.store import Store
from kitaru.testing.clock import FakeClock
from tests.client.journal import SECOND, START, Book, failure

BOOLEAN = '{"type": "boolean"}'
HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def executions(store: Store, clock: FakeClock) -> Executions:
    return Executions(Connection(settings.current()), clock=clock)


def begin(store: Store, flow: str = "audit", **fields: Any) -> Book:
    """Begin an execution with an id that reads well."""
    return Book.begin(store, flow, id=fields.pop("id", "x1"), **fields)


def wait(book: Book, name: str = "approve", *, at: float = 1, **fields: Any) -> WaitRecord:
    known: dict[str, Any] = {
        "exec_id": book.id,
        "position": f"wait:{name}#1",
        "wait_id": name,
        "name": name,
        "kind": WaitKind.INPUT,
        "question": "Ship it?",
        "schema": BOOLEAN,
        "created_at": START + int(at * SECOND),
        **fields,
    }
    return WaitRecord(**known)


def park(book: Book, *waits: WaitRecord) -> None:
    outcome = Outcome(
        status=ExecutionStatus.WAITING, waits_for=tuple(each.position for each in waits)
    )
    book.write(waits=waits, outcome=outcome)


def told(explanation: Explanation) -> tuple[WhyReason, str, tuple[str, ...]]:
    return explanation.reason, explanation.text, explanation.next_steps


def answer(store: Store, record: WaitRecord, *, at: float, abort: bool = False) -> None:
    status = WaitStatus.ABORTED if abort else WaitStatus.ANSWERED
    resolution = Resolution(
        status=status, answer=None if abort else "true", by="ann@desk", via="test"
    )
    moment = START + int(at * SECOND)
    store.resolve_wait(record.exec_id, record.position, resolution, now=moment)


# It waits


def test_question_is_told_with_its_age_its_type_its_expiry_and_the_last_problem(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    wake_at = START + (2 * DAY + 4 * HOUR) * SECOND
    park(book, wait(book, wake_at=wake_at, problem="2 people must agree.\n"))
    clock.advance(3 * HOUR + 2)

    explanation = executions.why("x")

    assert explanation == Explanation(
        exec_id="x1",
        status=ExecutionStatus.WAITING,
        reason=WhyReason.ASKS,
        text=(
            "execution 'x1' of flow 'audit' waits for 'approve' since 3 h: Ship it? (yes or no)."
            " It expires in 2 days. The last answer was not accepted: 2 people must agree."
        ),
        since=datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
        next_steps=("kitaru executions input x1 --wait approve --value true",),
    )
    assert str(explanation) == (
        f"{explanation.text}\n  kitaru executions input x1 --wait approve --value true"
    )
    assert shapes.explanation(explanation) == {
        "exec_id": "x1",
        "status": "waiting",
        "reason": "asks",
        "text": explanation.text,
        "since": "2026-01-01T00:00:01+00:00",
        "next_steps": ["kitaru executions input x1 --wait approve --value true"],
    }


def test_gate_without_a_question_is_told_by_its_name(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    park(book, wait(book, "go on", question=None, schema=None))
    clock.advance(13)

    assert told(executions.why("x1")) == (
        WhyReason.ASKS,
        "execution 'x1' of flow 'audit' waits for 'go on' since 12 s (continue or abort).",
        ("kitaru executions input x1 --wait 'go on' --value null",),
    )


def test_several_waits_are_told_one_by_one(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    park(
        book,
        wait(book, wake_at=START + 3 * HOUR * SECOND),
        wait(book, "vote", at=2, question="Who?", schema='{"type": "string"}'),
        wait(
            book,
            "sleep",
            at=3,
            kind=WaitKind.TIMER,
            question=None,
            schema=None,
            wake_at=START + DAY * SECOND,
        ),
    )
    clock.advance(61)

    assert told(executions.why("x1")) == (
        WhyReason.ASKS,
        "execution 'x1' of flow 'audit' waits for 3 things since 1 min."
        " (1) 'approve' since 1 min: Ship it? (yes or no). It expires in 2 h."
        " (2) 'vote' since 59 s: Who? (text)."
        " (3) its sleep 'sleep' until 2026-01-02 00:00:00 UTC (in 23 h).",
        (
            "kitaru executions input x1 --wait approve --value true",
            "kitaru executions input x1 --wait vote --value '\"text\"'",
        ),
    )


def test_id_that_several_questions_go_by_is_replaced_by_the_position(
    store: Store, executions: Executions
) -> None:
    book = begin(store)
    park(
        book,
        wait(book, "vote"),
        wait(book, "vote", position="1/wait:vote#1", wait_id="vote-2"),
    )

    assert executions.why("x1").next_steps == (
        "kitaru executions input x1 --wait vote-2 --value true",
        "kitaru executions input x1 --wait 'wait:vote#1' --value true",
    )


def test_sleep_is_told_with_its_end(store: Store, executions: Executions, clock: FakeClock) -> None:
    book = begin(store)
    asked = wait(
        book,
        "sleep",
        kind=WaitKind.TIMER,
        question=None,
        schema=None,
        wake_at=START + 3 * DAY * SECOND,
    )
    park(book, asked)

    assert told(executions.why("x1")) == (
        WhyReason.SLEEPS,
        "execution 'x1' of flow 'audit' sleeps until 2026-01-04 00:00:00 UTC (in 3 days).",
        (),
    )

    clock.advance(3 * DAY + 300)
    assert told(executions.why("x1")) == (
        WhyReason.MAY_GO_ON,
        "execution 'x1' of flow 'audit' may go on since 5 min: its sleep is over, and nobody goes"
        " on with it.",
        ("kitaru executions resume x1",),
    )


def test_question_that_has_expired_unnoticed_lets_it_go_on(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    park(book, wait(book, wake_at=START + 60 * SECOND))
    clock.advance(70)

    assert told(executions.why("x1")) == (
        WhyReason.MAY_GO_ON,
        "execution 'x1' of flow 'audit' may go on since 10 s: 'approve' has expired, and nobody"
        " goes on with it.",
        ("kitaru executions resume x1",),
    )


def test_child_is_followed_to_what_it_waits_for_itself(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    child = begin(store, "review", id="y1", parent_id="x1", parent_position="flow:review#1")
    park(child, wait(child))
    asked = wait(
        book, "review", kind=WaitKind.CHILD, question=None, schema=None, child_id="y1", at=0
    )
    park(book, asked)
    clock.advance(120)

    assert told(executions.why("x1")) == (
        WhyReason.WAITS_FOR_CHILD,
        "execution 'x1' of flow 'audit' waits for execution 'y1' of flow 'review' since 2 min,"
        " which itself waits for 'approve' since 1 min: Ship it? (yes or no).",
        ("kitaru executions input y1 --wait approve --value true",),
    )


def test_child_of_a_child_is_only_named(store: Store, executions: Executions) -> None:
    books = [
        begin(store, "sub" if number else "audit", id=f"x{number}", parent_id=parent)
        for number, parent in enumerate([None, "x0", "x1"])
    ]
    for book, child in itertools.pairwise(books):
        asked: dict[str, Any] = {
            "kind": WaitKind.CHILD,
            "question": None,
            "schema": None,
            "child_id": child.id,
        }
        park(book, wait(book, "sub", **asked))

    assert executions.why("x0").text == (
        "execution 'x0' of flow 'audit' waits for execution 'x1' of flow 'sub' since less than 1 s,"
        " which itself waits for execution 'x2' of flow 'sub' since less than 1 s."
    )


# Somebody runs it


def here(at: float = 0) -> Claim:
    return Claim(owner=str(current_owner()), lease_expires_at=START + int((at + 8) * SECOND))


def test_running_call_is_told_with_the_process(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store, claim=here(10))
    book.call("fetch", at=1, seconds=None)
    clock.advance(13)

    explanation = executions.why("x1")

    pid = current_owner().pid
    assert told(explanation) == (
        WhyReason.IN_CALL,
        f"execution 'x1' of flow 'audit' is in call 'fetch' since 12 s; its process {pid} on this"
        " machine is alive.",
        (),
    )
    assert explanation.since == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_process_of_another_machine_is_told_by_its_lease(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    claim = Claim(owner="elsewhere/4711/1.00/abc", lease_expires_at=START + 8 * SECOND)
    begin(store, claim=claim)
    clock.advance(2)

    assert told(executions.why("x1")) == (
        WhyReason.BETWEEN_CALLS,
        "execution 'x1' of flow 'audit' is running since 2 s and has recorded no call yet; its"
        " process 4711 on another machine holds the lease for another 6 s, unless it renews it.",
        (),
    )


def test_many_running_calls_are_cut_short(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    for number in range(1, 6):
        position = f"work#{number}"
        tries = [book.failed_attempt(position, 1, at=2)] if number == 1 else []
        fields: dict[str, Any] = {
            "position": position,
            "call_id": f"work-{number}",
            "attempts": tries,
        }
        book.call("work", at=number, seconds=None, **fields)
    book.call("done", at=2)
    clock.advance(10)

    assert executions.why("x1").text.startswith(
        "execution 'x1' of flow 'audit' is in 5 calls: 'work-1' since 9 s, attempt 2, 'work-2' since"
        " 8 s, 'work-3' since 7 s and 2 more; its runner holds the lease for another"
    )


def test_retried_call_is_told_with_what_failed_before(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store, claim=here(100))
    tries = [book.failed_attempt("fetch#1", number, at=number, next_in=42) for number in (1, 2)]
    book.call("fetch", seconds=None, attempts=tries)
    clock.advance(4.1)

    assert told(executions.why("x1")) == (
        WhyReason.RETRYING_CALL,
        "execution 'x1' of flow 'audit' is retrying call 'fetch', attempt 3 of 5, in 40 s;"
        f" its process {current_owner().pid} on this machine is alive. Attempt"
        " 2 failed with ValueError: try 2.",
        (),
    )
    clock.advance(50)
    assert "attempt 3 of 5, since 10 s;" in executions.why("x1").text


def test_call_of_an_earlier_claim_is_not_what_it_does(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store, claim=here(100))
    book.call("fetch", at=1)
    book.call("parse", at=2, seconds=None, epoch=0)
    clock.advance(5)

    assert executions.why("x1").text == (
        "execution 'x1' of flow 'audit' is between calls, or in one that began just now: 'fetch'"
        f" ended 3 s ago; its process {current_owner().pid} on this machine is alive."
    )


def test_question_of_a_process_that_stays_for_the_answer_is_told(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store, claim=here())
    book.write(waits=(wait(book),))
    clock.advance(4)
    expected = (
        WhyReason.ASKS,
        "execution 'x1' of flow 'audit' waits for 'approve' since 3 s: Ship it? (yes or no). Its"
        f" process {current_owner().pid} on this machine is alive.",
        ("kitaru executions input x1 --wait approve --value true",),
    )

    assert told(executions.why("x1")) == expected


def test_question_beside_a_running_call_is_told_after_it(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store, claim=here())
    book.call("fetch", seconds=None)
    book.write(waits=(wait(book),))
    clock.advance(4)

    assert told(executions.why("x1")) == (
        WhyReason.IN_CALL,
        "execution 'x1' of flow 'audit' is in call 'fetch' since 3 s. It waits for 'approve' since"
        f" 3 s: Ship it? (yes or no). Its process {current_owner().pid} on this machine is alive.",
        ("kitaru executions input x1 --wait approve --value true",),
    )


def test_cancellation_that_nobody_has_noticed_is_told(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    begin(store, claim=here())
    store.request_cancel("x1", by="ann@desk", now=START)
    clock.advance(5)

    assert told(executions.why("x1")) == (
        WhyReason.CANCEL_REQUESTED,
        "execution 'x1' of flow 'audit' is to be cancelled, and its runner has not noticed yet."
        f" ann@desk asked for it to be cancelled 5 s ago; its process {current_owner().pid} on this"
        " machine is alive.",
        (),
    )


# It lost its runner


def dead() -> str:
    """Return a process of this machine that is certainly gone: this one, but of long ago."""
    owner = current_owner()
    return f"{owner.host}/{owner.pid}/{owner.started_at - 1000:.2f}/abc"


def test_dead_process_makes_it_recoverable(store: Store, executions: Executions) -> None:
    book = begin(store, claim=Claim(owner=dead(), lease_expires_at=START + 8 * SECOND))
    book.call("fetch", seconds=None)

    explanation = executions.why("x1")

    assert told(explanation) == (
        WhyReason.INTERRUPTED,
        f"execution 'x1' of flow 'audit' was interrupted: its process {current_owner().pid} on this"
        " machine is gone. It is recoverable.",
        ("kitaru executions recover x1",),
    )
    assert explanation.since is None


def test_expired_lease_makes_it_recoverable_and_cancels_it_if_asked(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    claim = Claim(owner="elsewhere/4711/1.00/abc", lease_expires_at=START + 8 * SECOND)
    begin(store, claim=claim)
    clock.advance(20)

    assert executions.why("x1").text == (
        "execution 'x1' of flow 'audit' was interrupted: its process 4711 has been silent; the lease"
        " ran out 12 s ago. It is recoverable."
    )
    store.request_cancel("x1", by="ann@desk", now=START + 17 * SECOND)
    assert told(executions.why("x1")) == (
        WhyReason.INTERRUPTED,
        "execution 'x1' of flow 'audit' was interrupted: its process 4711 has been silent; the lease"
        " ran out 12 s ago. ann@desk asked for it to be cancelled 3 s ago; recovering it cancels it.",
        ("kitaru executions recover x1",),
    )


# Nobody runs it


def test_execution_that_was_never_started_says_so(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    begin(store, claim=None)
    clock.advance(2 * DAY)

    assert told(executions.why("x1")) == (
        WhyReason.NOT_STARTED,
        "execution 'x1' of flow 'audit' was created 2 days ago, and nobody has begun to run it.",
        ("kitaru executions resume x1",),
    )


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("released", "its runner gave it back before the end"),
        (None, "it may go on"),
        ("other words", "other words"),
    ],
)
def test_execution_that_was_given_back_says_why(
    store: Store, executions: Executions, clock: FakeClock, reason: str | None, shown: str
) -> None:
    book = begin(store)
    outcome = Outcome(status=ExecutionStatus.PENDING, reason=reason, runnable_at=START)
    book.write(outcome=outcome)
    clock.advance(60)

    assert told(executions.why("x1")) == (
        WhyReason.GIVEN_BACK,
        f"execution 'x1' of flow 'audit' is pending since 1 min: {shown}, and nobody goes on with it.",
        ("kitaru executions resume x1",),
    )


def test_execution_that_was_reaped_says_so(store: Store, executions: Executions) -> None:
    begin(store, claim=Claim(owner=dead(), lease_expires_at=START))
    store.reap(now=START, dead_owners=[dead()])

    assert executions.why("x1").text == (
        "execution 'x1' of flow 'audit' is pending since less than 1 s: its runner was lost, and"
        " nobody goes on with it."
    )


@pytest.mark.parametrize(
    ("abort", "shown"),
    [(False, "was answered by ann@desk"), (True, "was aborted by ann@desk")],
)
def test_answer_that_nobody_has_taken_up_is_told(
    store: Store, executions: Executions, clock: FakeClock, abort: bool, shown: str
) -> None:
    book = begin(store)
    asked = wait(book)
    park(book, asked)
    answer(store, asked, at=60, abort=abort)
    clock.advance(360)

    assert told(executions.why("x1")) == (
        WhyReason.MAY_GO_ON,
        f"execution 'x1' of flow 'audit' may go on since 5 min: 'approve' {shown}, and nobody goes on"
        " with it.",
        ("kitaru executions resume x1",),
    )


def test_moments_and_ends_that_nobody_has_taken_up_are_told(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    child = begin(store, "sub", id="y1", parent_id="x1", parent_position="flow:sub#1")
    about: dict[str, Any] = {"question": None, "schema": None}
    end = START + 4 * SECOND
    park(
        book,
        wait(book, "sub", kind=WaitKind.CHILD, child_id="y1", **about),
        wait(book, "sleep", kind=WaitKind.TIMER, wake_at=end, at=2, **about),
        wait(book, "approve", wake_at=end, at=3),
    )
    child.end(ExecutionStatus.COMPLETED, at=4)
    store.wake_due(now=end, limit=10)
    clock.advance(5)

    assert executions.why("x1").text == (
        "execution 'x1' of flow 'audit' may go on since 1 s: execution 'y1', for which it waited, has"
        " ended and its sleep is over and 'approve' has expired, and nobody goes on with it."
    )


def test_automatic_retry_says_what_failed_and_how_often_it_may(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store, retries_left=2)
    positions = [f"work#{number}" for number in range(1, 6)]
    for position in positions:
        book.call(
            "work",
            position=position,
            call_id=position.replace("#", "-"),
            status=CallStatus.FAILED,
            failure=failure(),
            attempts=[book.failed_attempt(position, number, at=number) for number in (1, 2)],
        )
    book.write(
        outcome=Outcome(
            status=ExecutionStatus.PENDING,
            failure=failure(),
            reason="retrying",
            runnable_at=START + 180 * SECOND,
            reopen=tuple(positions),
        )
    )
    failed = (
        "Call 'work-1' had failed with ValueError: try 2. Call 'work-2' had failed with ValueError:"
        " try 2. Call 'work-3' had failed with ValueError: try 2. 2 more calls had failed. It may be"
        " retried once more."
    )

    assert told(executions.why("x1")) == (
        WhyReason.RETRY_SCHEDULED,
        "execution 'x1' of flow 'audit' may be run again at 2026-01-01 00:03:00 UTC (in 3 min), not"
        f" before. {failed}",
        (),
    )
    clock.advance(190)
    assert told(executions.why("x1")) == (
        WhyReason.RETRY_SCHEDULED,
        "execution 'x1' of flow 'audit' is to be retried since 10 s, and nobody has begun to."
        f" {failed}",
        ("kitaru executions resume x1",),
    )


def test_last_automatic_retry_says_so(store: Store, executions: Executions) -> None:
    book = begin(store, retries_left=1)
    book.write(
        outcome=Outcome(status=ExecutionStatus.PENDING, failure=failure(), reason="retrying")
    )

    assert executions.why("x1").text == (
        "execution 'x1' of flow 'audit' is to be retried since less than 1 s, and nobody has begun"
        " to. It is the last retry."
    )


def test_execution_that_is_to_begin_later_says_when(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    begin(store, claim=None, at=3 * HOUR)

    assert told(executions.why("x1")) == (
        WhyReason.NOT_YET,
        "execution 'x1' of flow 'audit' may be run at 2026-01-01 03:00:00 UTC (in 3 h), not before.",
        (),
    )


# It is over


def test_completed_execution_says_when_and_of_what_it_is_a_replay(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    begin(store, id="o1").end(ExecutionStatus.COMPLETED, at=1)
    begin(store, origin_id="o1").end(ExecutionStatus.COMPLETED, at=70)
    clock.advance(HOUR + 80)

    explanation = executions.why("x1")

    assert told(explanation) == (
        WhyReason.COMPLETED,
        "execution 'x1' of flow 'audit' completed 1 h ago, 1 min after it had begun. It is a replay"
        " of execution 'o1'.",
        (),
    )
    assert str(explanation) == explanation.text


def test_cancelled_execution_says_by_whom(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    begin(store, claim=None)
    store.request_cancel("x1", by="ann@desk", now=START)
    clock.advance(5 * 60)

    assert told(executions.why("x1")) == (
        WhyReason.CANCELLED,
        "execution 'x1' of flow 'audit' was cancelled by ann@desk 5 min ago.",
        (),
    )


def test_failed_execution_names_the_call_and_its_attempts(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    tries: list[AttemptRecord] = [
        book.failed_attempt("parse#1", number, at=number) for number in (1, 2, 3)
    ]
    book.call("parse", status=CallStatus.FAILED, failure=failure("no\nJSON"), attempts=tries)
    book.end(ExecutionStatus.FAILED, failure=failure(positions=("parse#1",)))
    clock.advance(10)

    assert told(executions.why("x1")) == (
        WhyReason.FAILED,
        "execution 'x1' of flow 'audit' failed 6 s ago: call 'parse' failed with ValueError: no JSON"
        " after 3 attempts.",
        (
            "kitaru executions retry x1",
            "kitaru executions replay x1 --from parse",
        ),
    )


def test_failed_fan_out_is_cut_short_and_replayed_by_position(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    for number in range(1, 6):
        position, call_id = f"work#{number}", "work" if number == 1 else f"work-{number}"
        fields: dict[str, Any] = {"status": CallStatus.FAILED, "failure": failure()}
        book.call("work", position=position, call_id=call_id, **fields)
    positions = tuple(f"work#{number}" for number in range(1, 6))
    book.end(ExecutionStatus.FAILED, failure=failure(positions=positions))
    clock.advance(10)

    assert told(executions.why("x1")) == (
        WhyReason.FAILED,
        "execution 'x1' of flow 'audit' failed 6 s ago: call 'work' failed with ValueError: bad"
        " input; call 'work-2' failed with ValueError: bad input; call 'work-3' failed with"
        " ValueError: bad input; 2 more calls failed.",
        (
            "kitaru executions retry x1",
            "kitaru executions replay x1 --from 'work#1'",
        ),
    )


def test_failed_child_and_failed_wait_are_told_as_such(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    book = begin(store)
    book.call("sub", kind=CallKind.CHILD, position="flow:sub#1")
    fields: dict[str, Any] = {
        "kind": CallKind.WAIT,
        "position": "wait:ok#1",
        "status": CallStatus.FAILED,
    }
    book.call("ok", failure=failure(""), **fields)
    book.call("cut", status=CallStatus.RUNNING, seconds=None)
    positions = ("flow:sub#1", "wait:ok#1", "cut#1")
    book.end(ExecutionStatus.FAILED, failure=failure(positions=positions))
    clock.advance(4)

    assert executions.why("x1").text == (
        "execution 'x1' of flow 'audit' failed less than 1 s ago: the flow 'sub' that it had started"
        " failed (call 'sub'); wait 'ok' failed with ValueError; call 'cut' failed."
    )


def test_failure_of_the_body_and_its_timeout_are_told(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    begin(store).end(ExecutionStatus.FAILED, reason="timed out")
    clock.advance(10)

    assert told(executions.why("x1")) == (
        WhyReason.FAILED,
        "execution 'x1' of flow 'audit' failed 6 s ago: timed out: its body raised ValueError: bad"
        " input.",
        ("kitaru executions retry x1",),
    )


def test_runner_that_was_lost_too_often_is_told(
    store: Store, executions: Executions, clock: FakeClock
) -> None:
    begin(store, max_recoveries=0, claim=Claim(owner=dead(), lease_expires_at=START))
    store.reap(now=START, dead_owners=[dead()])
    clock.advance(1)

    assert told(executions.why("x1")) == (
        WhyReason.LOST_TOO_OFTEN,
        "execution 'x1' of flow 'audit' failed 1 s ago: its runner was lost 1 times, more often than"
        " `max_recoveries` (0) allows.",
        ("kitaru executions retry x1",),
    )


# Words


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "less than 1 s"),
        (0.9, "less than 1 s"),
        (12, "12 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3 * HOUR, "3 h"),
        (47.9 * HOUR, "47 h"),
        (5.5 * DAY, "5 days"),
    ],
)
def test_span_has_one_unit(seconds: float, shown: str) -> None:
    assert span(int(seconds * SECOND)) == shown


def test_text_of_users_becomes_one_harmless_line() -> None:
    assert one_line("a\n\x1b[31m b\t") == "a [31m b"
    assert one_line("x" * 10**6, 5) == "xxxx…"
    assert one_line(" " * 10**6 + "x", 5) == "…"


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        (None, "null"),
        ({"type": "boolean"}, "true"),
        ({"type": "string"}, '"text"'),
        ({"type": "string", "format": "uuid"}, "JSON"),
        ({"type": "integer"}, "1"),
        ({"type": "number"}, "1"),
        ({"type": "integer", "minimum": 5}, "JSON"),
        ({"enum": ["yes", "no"]}, '"yes"'),
        ({"anyOf": [{"type": "integer", "minimum": 5}, {"type": "null"}]}, "null"),
        ({"type": "array", "items": {}}, "JSON"),
        (
            {
                "type": "object",
                "properties": {"ok": {"type": "boolean"}, "why": {"type": "string"}},
                "required": ["ok"],
            },
            '{"ok":true}',
        ),
    ],
)
def test_example_fits_the_schema(schema: object, shown: str) -> None:
    assert example(None if schema is None else json.dumps(schema)) == shown


def test_client_asks_with_the_time_of_the_machine(store: Store, client: KitaruClient) -> None:
    begin(store, claim=None)

    assert client.executions.why("x1").reason is WhyReason.NOT_STARTED
