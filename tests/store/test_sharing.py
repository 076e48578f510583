"""Requests that come again, commits whose answer was lost, and the clock that everybody shares."""

from __future__ import annotations

import pytest

from kitaru.clock import MICROSECONDS, SYSTEM_CLOCK, SharedClock
from kitaru.errors import KitaruStateError
from kitaru.model import Claim, ExecutionStatus, Outcome, adopt_created
from kitaru.store import Store
from kitaru.store.contract.serving import BoundStore, ServedStore
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


def test_outcome_that_comes_again_is_still_held(store: Store) -> None:
    execution = run(store)
    end = entry(execution, call(), outcome=completed())
    store.commit([end])
    before = store.get_execution(execution.id)

    [again] = store.commit([end])

    assert again.held
    assert store.get_execution(execution.id) == before


def test_another_outcome_of_an_ended_claim_is_not_held(store: Store) -> None:
    execution = run(store)
    store.commit([entry(execution, outcome=completed())])

    [other] = store.commit([entry(execution, outcome=Outcome(status=ExecutionStatus.PENDING))])

    assert not other.held


def test_parking_that_comes_again_after_the_answer_changes_nothing(store: Store) -> None:
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


def test_creation_that_is_tried_again_is_its_own(store: Store) -> None:
    new = new_execution()
    first = store.commit([new])

    again = store.commit([new])

    assert not again[0].created
    assert adopt_created([new], again) == first


def test_request_that_comes_again_is_answered_as_before(served_store: ServedStore) -> None:
    execution = create(served_store)

    def cancel(bound: BoundStore) -> bytes:
        return bound.request_cancel(execution.id, by="me", now=NOW).id.encode()

    first = served_store.perform_once("key-1", cancel)
    again = served_store.perform_once("key-1", cancel)

    assert (first, again) == ((execution.id.encode(), False), (execution.id.encode(), True))
    with pytest.raises(KitaruStateError, match="cancelled"):
        served_store.perform_once("key-2", cancel)


def test_request_that_fails_leaves_no_receipt(served_store: ServedStore) -> None:
    execution = create(served_store)

    def half(bound: BoundStore) -> bytes:
        bound.request_cancel(execution.id, by="me", now=NOW)
        message = "no"
        raise ValueError(message)

    with pytest.raises(ValueError, match="no"):
        served_store.perform_once("key", half)

    assert served_store.get_execution(execution.id).status is ExecutionStatus.PENDING
    assert served_store.perform_once("key", lambda _: b"done") == (b"done", False)


def test_request_that_finds_nothing_to_do_leaves_no_receipt(served_store: ServedStore) -> None:
    def claim(bound: BoundStore) -> bytes:
        claimed = bound.claim_executions(
            Claim(owner="me", lease_expires_at=NOW + 1), now=NOW, limit=1
        )
        return b" ".join(execution.id.encode() for execution in claimed)

    assert served_store.perform_once("key", claim) == (b"", False)
    assert served_store.forget_receipts(before=served_store.clock.now() + MICROSECONDS) == 0

    execution = create(served_store)

    assert served_store.perform_once("key", claim) == (execution.id.encode(), False)
    assert served_store.perform_once("key", claim) == (execution.id.encode(), True)


def test_receipts_are_forgotten_by_age(served_store: ServedStore) -> None:
    execution = create(served_store)

    def prune(bound: BoundStore) -> bytes:
        bound.prune_events(execution.id, keep=0)
        return b"done"

    served_store.perform_once("key", prune)

    forgotten = served_store.forget_receipts(before=served_store.clock.now() + MICROSECONDS)

    assert forgotten == 1
    assert served_store.perform_once("key", prune) == (b"done", False)


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
