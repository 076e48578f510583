from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru.errors import KitaruUsageError
from kitaru.model import CallStatus, Committed, ExecutionRecord, ExecutionStatus, Outcome
from kitaru.store import Store
from tests.store.records import (
    BLOB,
    FAILURE,
    NOW,
    SECOND,
    call,
    claim,
    commit_one,
    completed,
    ended,
    entry,
    failed,
    run,
)

S = ExecutionStatus


def after(store: Store, execution: ExecutionRecord, outcome: Outcome) -> ExecutionRecord:
    committed = commit_one(store, entry(execution, outcome=outcome))
    assert committed.held
    return store.get_execution(execution.id)


def test_completed_outcome_carries_its_result(store: Store) -> None:
    execution = run(store)

    ended_execution = after(
        store, execution, Outcome(status=S.COMPLETED, result=BLOB, ended_at=NOW + 5, reason="done")
    )

    assert ended_execution == replace(
        execution,
        status=S.COMPLETED,
        result=BLOB,
        ended_at=NOW + 5,
        status_reason="done",
        lease_owner=None,
        lease_expires_at=None,
    )


def test_failed_outcome_carries_its_failure(store: Store) -> None:
    execution = run(store)

    ended_execution = after(store, execution, failed(NOW + 5))

    assert ended_execution == replace(
        execution,
        status=S.FAILED,
        failure=FAILURE,
        ended_at=NOW + 5,
        lease_owner=None,
        lease_expires_at=None,
    )


def test_outcome_and_the_last_calls_are_one_commit(store: Store) -> None:
    execution = run(store)

    commit_one(store, entry(execution, call(), outcome=completed()))

    assert store.list_calls(execution.id) == [call()]
    assert store.get_execution(execution.id).status is S.COMPLETED


@pytest.mark.parametrize("status", [S.PENDING, S.WAITING])
def test_released_execution_has_no_owner_and_keeps_its_journal(
    store: Store, status: ExecutionStatus
) -> None:
    execution = run(store)
    commit_one(store, entry(execution, call()))

    released = after(
        store, execution, Outcome(status=status, runnable_at=NOW + SECOND, reason="sleeping")
    )

    assert released == replace(
        execution,
        status=status,
        runnable_at=NOW + SECOND,
        status_reason="sleeping",
        lease_owner=None,
        lease_expires_at=None,
    )
    assert store.list_calls(execution.id) == [call()]


def test_released_execution_is_not_claimed_before_its_time(store: Store) -> None:
    execution = run(store)
    after(store, execution, Outcome(status=S.PENDING, runnable_at=NOW + SECOND))

    assert store.claim_executions(claim(), now=NOW + SECOND - 1, limit=9) == []
    [claimed] = store.claim_executions(claim(), now=NOW + SECOND, limit=9)

    assert claimed.epoch == execution.epoch + 1


def test_release_with_a_failure_spends_a_retry_and_reopens_calls(store: Store) -> None:
    execution = run(store, retries_left=1)
    calls = [
        call("a#1", status=CallStatus.FAILED),
        call("b#1", status=CallStatus.FAILED),
        call("c#1"),
    ]
    commit_one(store, entry(execution, *calls[:1]))
    outcome = Outcome(status=S.PENDING, failure=FAILURE, reopen=("a#1", "c#1"), runnable_at=NOW)

    commit_one(store, entry(execution, *calls[1:], outcome=outcome))

    released = store.get_execution(execution.id)
    assert (released.status, released.retries_left, released.failure) == (S.PENDING, 0, None)
    assert store.list_calls(execution.id) == [
        replace(calls[0], status=CallStatus.PENDING, failure=None, ended_at=None),
        calls[1],
        calls[2],
    ]


def test_call_that_failed_in_the_outcomes_own_entry_is_reopened(store: Store) -> None:
    execution = run(store, retries_left=1)
    outcome = Outcome(status=S.PENDING, failure=FAILURE, reopen=("a#1",))

    commit_one(store, entry(execution, call("a#1", status=CallStatus.FAILED), outcome=outcome))

    [reopened] = store.list_calls(execution.id)
    assert reopened.status is CallStatus.PENDING


def test_retries_left_never_falls_below_zero(store: Store) -> None:
    execution = run(store, retries_left=0)

    released = after(store, execution, Outcome(status=S.PENDING, failure=FAILURE))

    assert released.retries_left == 0


def test_release_without_a_failure_spends_no_retry(store: Store) -> None:
    execution = run(store, retries_left=2)

    assert after(store, execution, Outcome(status=S.PENDING)).retries_left == 2


@pytest.mark.parametrize("status", [S.PENDING, S.WAITING])
def test_release_after_a_cancel_request_is_the_cancellation(
    store: Store, status: ExecutionStatus
) -> None:
    execution = run(store)
    store.request_cancel(execution.id, by="me", now=NOW + 1)

    released = after(store, execution, Outcome(status=status, runnable_at=NOW + SECOND))

    assert (released.status, released.ended_at) == (S.CANCELLED, NOW + 1)
    assert (released.cancel_requested_by, released.lease_owner) == ("me", None)


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.CANCELLED])
def test_run_that_ended_before_it_noticed_a_cancel_request_ends_as_it_did(
    store: Store, status: ExecutionStatus
) -> None:
    execution = run(store)
    store.request_cancel(execution.id, by="me", now=NOW + 1)

    assert after(store, execution, ended(status, NOW + 2)).status is status


def test_outcome_is_recorded_once(store: Store) -> None:
    execution = run(store)
    first = after(store, execution, completed())

    committed = commit_one(store, entry(execution, outcome=failed()))

    assert committed == Committed(held=False)
    assert store.get_execution(execution.id) == first


def test_running_is_no_outcome(store: Store) -> None:
    execution = run(store)

    with pytest.raises(KitaruUsageError, match="'running'"):
        commit_one(store, entry(execution, call(), outcome=Outcome(status=S.RUNNING)))

    assert store.get_execution(execution.id) == execution
    assert store.list_calls(execution.id) == []
