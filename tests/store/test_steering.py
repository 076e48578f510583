"""Retry, cancel, delete."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru.errors import KitaruNotFoundError, KitaruStateError
from kitaru.model import CallStatus, ExecutionFilter, ExecutionRecord, ExecutionStatus, Outcome
from kitaru.store import Store
from tests.store.records import (
    NOW,
    SECOND,
    artifact,
    attempt,
    call,
    claim,
    commit_one,
    completed,
    create,
    entry,
    event,
    failed,
    finish,
    log_line,
    metadata,
    run,
)

S = ExecutionStatus


def in_status(store: Store, status: ExecutionStatus) -> ExecutionRecord:
    if status is S.PENDING:
        return create(store)
    if status is S.RUNNING:
        return run(store)
    return finish(store, status)


def family(store: Store) -> list[ExecutionRecord]:
    """Return a running parent, its running child, and that one's pending, waiting and completed children."""
    parent = run(store)
    child = run(store, parent_id=parent.id, parent_position="c#1")
    grandchildren = [
        create(store, parent_id=child.id, parent_position="p#1"),
        run(store, parent_id=child.id, parent_position="w#1"),
        run(store, parent_id=child.id, parent_position="d#1"),
    ]
    commit_one(store, entry(grandchildren[1], outcome=Outcome(status=S.WAITING)))
    commit_one(store, entry(grandchildren[2], outcome=completed()))
    return [store.get_execution(one.id) for one in [parent, child, *grandchildren]]


def test_retried_execution_is_pending_with_the_chosen_calls_reopened(store: Store) -> None:
    execution = run(store, retries_left=1)
    calls = [
        call("a#1", status=CallStatus.FAILED),
        call("b#1", status=CallStatus.FAILED),
        call("c#1"),
    ]
    attempts = (attempt("a#1"),)
    store.request_cancel(execution.id, by="me", now=NOW)
    commit_one(store, entry(execution, *calls, attempts=attempts, outcome=failed()))

    retried = store.retry_execution(execution.id, reopen=["a#1", "c#1", "x#1"], now=NOW + SECOND)

    assert retried == store.get_execution(execution.id)
    assert retried == replace(
        execution,
        status=S.PENDING,
        runnable_at=NOW + SECOND,
        lease_owner=None,
        lease_expires_at=None,
    )
    assert store.list_calls(execution.id) == [
        replace(calls[0], status=CallStatus.PENDING, failure=None, ended_at=None),
        *calls[1:],
    ]
    assert store.list_attempts(execution.id) == [*attempts]


def test_retried_execution_starts_to_count_its_recoveries_anew(store: Store) -> None:
    execution = run(store, max_recoveries=0)
    store.reap(now=NOW, dead_owners=["owner-1"])

    assert store.retry_execution(execution.id, reopen=[], now=NOW).recoveries == 0


@pytest.mark.parametrize("status", [status for status in S if status is not S.FAILED])
def test_only_failed_executions_are_retried(store: Store, status: ExecutionStatus) -> None:
    execution = in_status(store, status)

    with pytest.raises(KitaruStateError, match=f"is {status}"):
        store.retry_execution(execution.id, reopen=[], now=NOW)

    assert store.get_execution(execution.id) == execution


@pytest.mark.parametrize("status", [S.PENDING, S.WAITING])
def test_execution_that_nobody_runs_is_cancelled_at_once(
    store: Store, status: ExecutionStatus
) -> None:
    execution = in_status(store, status)

    cancelled = store.request_cancel(execution.id, by="me@here", now=NOW + 7)

    assert cancelled == store.get_execution(execution.id)
    assert cancelled == replace(
        execution,
        status=S.CANCELLED,
        cancel_requested_at=NOW + 7,
        cancel_requested_by="me@here",
        ended_at=NOW + 7,
    )
    assert store.claim_executions(claim(), now=NOW + SECOND, limit=9) == []


def test_running_execution_is_asked_to_stop(store: Store) -> None:
    execution = run(store)

    asked = store.request_cancel(execution.id, by="me", now=NOW + 7)

    assert asked == replace(execution, cancel_requested_at=NOW + 7, cancel_requested_by="me")


def test_second_cancel_request_changes_nothing(store: Store) -> None:
    execution = run(store)
    first = store.request_cancel(execution.id, by="me", now=NOW + 7)

    assert store.request_cancel(execution.id, by="you", now=NOW + 8) == first


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.CANCELLED])
def test_finished_execution_cannot_be_cancelled(store: Store, status: ExecutionStatus) -> None:
    execution = in_status(store, status)

    with pytest.raises(KitaruStateError, match=f"is {status}"):
        store.request_cancel(execution.id, by="me", now=NOW)

    assert store.get_execution(execution.id) == execution


def test_cancel_reaches_all_descendants(store: Store) -> None:
    members = family(store)
    stranger = run(store)

    store.request_cancel(members[0].id, by="me", now=NOW + 7)

    now_are = [store.get_execution(one.id) for one in members]
    assert [one.status for one in now_are] == [
        S.RUNNING, S.RUNNING, S.CANCELLED, S.CANCELLED, S.COMPLETED
    ]  # fmt: skip
    assert [one.cancel_requested_at for one in now_are] == [NOW + 7] * 4 + [None]
    assert store.get_execution(stranger.id) == stranger


def test_cancel_of_a_child_leaves_its_parent_alone(store: Store) -> None:
    parent, child, *_ = family(store)

    store.request_cancel(child.id, by="me", now=NOW)

    assert store.get_execution(parent.id) == parent


def test_deleted_execution_is_gone_with_everything_about_it(store: Store) -> None:
    execution, other = run(store), run(store)
    for one in [execution, other]:
        commit_one(
            store,
            entry(
                one, call(), attempts=(attempt(),), artifacts=(artifact(),), metadata=(metadata(),),
                events=(event(),), outcome=completed(),
            ),
        )  # fmt: skip
        store.append_logs([log_line(one.id)])

    store.delete_execution(execution.id)

    with pytest.raises(KitaruNotFoundError):
        store.get_execution(execution.id)
    for kept, number in [(execution, 0), (other, 1)]:
        assert len(store.list_calls(kept.id)) == number
        assert len(store.list_attempts(kept.id)) == number
        assert len(store.list_artifacts(kept.id)) == number
        assert len(store.list_metadata(kept.id)) == number
        assert len(store.list_events(kept.id)) == number
        assert len(store.list_logs(kept.id)) == number
    assert store.verify() == []


def test_descendants_are_deleted_with_their_ancestor(store: Store) -> None:
    parent = finish(store)
    child = finish(store, parent_id=parent.id, parent_position="c#1")
    finish(store, parent_id=child.id, parent_position="g#1")
    finish(store, parent_id=child.id, parent_position="g#2")
    stranger = finish(store)

    store.delete_execution(parent.id)

    left = store.list_executions(ExecutionFilter(project="default"), limit=9)
    assert left == [stranger]


def test_child_is_deleted_without_its_finished_parent(store: Store) -> None:
    parent = finish(store)
    child = finish(store, parent_id=parent.id, parent_position="c#1")

    store.delete_execution(child.id)

    assert store.get_execution(parent.id) == parent


@pytest.mark.parametrize("status", [S.PENDING, S.RUNNING, S.WAITING])
def test_what_an_unfinished_ancestor_has_started_cannot_be_deleted(
    store: Store, status: ExecutionStatus
) -> None:
    ancestor = in_status(store, status)
    child = finish(store, parent_id=ancestor.id, parent_position="c#1")
    grandchild = finish(store, parent_id=child.id, parent_position="g#1")

    for execution in [child, grandchild]:
        with pytest.raises(KitaruStateError, match=f"its ancestor '{ancestor.id}' is {status}"):
            store.delete_execution(execution.id)

    assert store.get_execution(grandchild.id) == grandchild


@pytest.mark.parametrize("status", [S.PENDING, S.RUNNING, S.WAITING])
def test_unfinished_execution_cannot_be_deleted(store: Store, status: ExecutionStatus) -> None:
    execution = in_status(store, status)

    with pytest.raises(KitaruStateError, match=f"is {status}"):
        store.delete_execution(execution.id)

    assert store.get_execution(execution.id) == execution


def test_execution_with_an_unfinished_descendant_cannot_be_deleted(store: Store) -> None:
    parent, *_ = family(store)
    commit_one(store, entry(parent, outcome=completed()))

    with pytest.raises(KitaruStateError, match=r"its descendant '.*' is running"):
        store.delete_execution(parent.id)

    assert store.count_executions(ExecutionFilter(project="default")) == 5


def test_unknown_executions_cannot_be_steered(store: Store) -> None:
    with pytest.raises(KitaruNotFoundError):
        store.retry_execution("nobody", reopen=[], now=NOW)
    with pytest.raises(KitaruNotFoundError):
        store.request_cancel("nobody", by="me", now=NOW)
    with pytest.raises(KitaruNotFoundError):
        store.delete_execution("nobody")
