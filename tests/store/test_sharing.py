"""Requests that come again, commits whose answer was lost, and the clock that everybody shares."""

from __future__ import annotations

import pytest

from kitaru.clock import MICROSECONDS, SYSTEM_CLOCK, SharedClock
from kitaru.errors import KitaruStateError
from kitaru.model import ExecutionStatus, Outcome, adopt_created
from kitaru.store.sql_store import SqlStore
from tests.store.records import (
    NOW,
    answered,
    call,
    completed,
    create,
    entry,
    new_execution,
    parked,
    question,
    run,
)


def test_outcome_that_comes_again_is_still_held(store: SqlStore) -> None:
    execution = run(store)
    end = entry(execution, call(), outcome=completed())
    store.commit([end])
    before = store.get_execution(execution.id)

    [again] = store.commit([end])

    assert again.held
    assert store.get_execution(execution.id) == before


def test_another_outcome_of_an_ended_claim_is_not_held(store: SqlStore) -> None:
    execution = run(store)
    store.commit([entry(execution, outcome=completed())])

    [other] = store.commit([entry(execution, outcome=Outcome(status=ExecutionStatus.PENDING))])

    assert not other.held


def test_parking_that_comes_again_after_the_answer_changes_nothing(store: SqlStore) -> None:
    execution = run(store)
    wait = question(execution)
    asked = entry(execution, waits=(wait,), outcome=parked(wait.position))
    store.commit([asked])
    store.resolve_wait(execution.id, wait.position, answered(), now=NOW)
    before = store.get_execution(execution.id)
    assert before.status is ExecutionStatus.PENDING

    [again] = store.commit([asked])

    assert again.held
    assert store.get_execution(execution.id) == before


def test_creation_that_is_tried_again_is_its_own(store: SqlStore) -> None:
    new = new_execution()
    first = store.commit([new])

    again = store.commit([new])

    assert not again[0].created
    assert adopt_created([new], again) == first


def test_request_that_comes_again_is_answered_as_before(store: SqlStore) -> None:
    execution = create(store)

    def cancel(bound: SqlStore) -> bytes:
        return bound.request_cancel(execution.id, by="me", now=NOW).id.encode()

    first = store.perform_once("key-1", cancel)
    again = store.perform_once("key-1", cancel)

    assert (first, again) == ((execution.id.encode(), False), (execution.id.encode(), True))
    with pytest.raises(KitaruStateError, match="cancelled"):
        store.perform_once("key-2", cancel)


def test_request_that_fails_leaves_no_receipt(store: SqlStore) -> None:
    execution = create(store)

    def half(bound: SqlStore) -> bytes:
        bound.request_cancel(execution.id, by="me", now=NOW)
        message = "no"
        raise ValueError(message)

    with pytest.raises(ValueError, match="no"):
        store.perform_once("key", half)

    assert store.get_execution(execution.id).status is ExecutionStatus.PENDING
    assert store.perform_once("key", lambda _: b"done") == (b"done", False)


def test_receipts_are_forgotten_by_age(store: SqlStore) -> None:
    store.perform_once("key", lambda _: b"one")

    forgotten = store.forget_receipts(before=store.clock.now() + MICROSECONDS)

    assert forgotten == 1
    assert store.perform_once("key", lambda _: b"two") == (b"two", False)


def test_shared_clock_follows_the_store_whatever_this_machine_says() -> None:
    ten_minutes = 600 * MICROSECONDS
    clock = SharedClock(lambda: SYSTEM_CLOCK.now() + ten_minutes)

    ahead = clock.now() - SYSTEM_CLOCK.now()

    assert abs(ahead - ten_minutes) < MICROSECONDS


def test_shared_clock_goes_on_while_the_store_does_not_answer() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) > 1:
            message = "out of reach"
            raise OSError(message)
        return NOW

    clock = SharedClock(ask)
    first = clock.now()
    clock._asked_at = float("-inf")  # as if a minute were over

    assert clock.now() >= first
    assert len(asked) == 2
