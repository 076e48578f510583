"""What the end of an execution does to waits, and what a retry does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru.errors import KitaruStateError
from kitaru.model import CallKind, CallStatus, ExecutionRecord, ExecutionStatus, Outcome, WaitStatus
from kitaru.store import Store
from tests.store.records import (
    FAILURE,
    NOW,
    SECOND,
    answered,
    call,
    child_wait,
    claim,
    commit_one,
    completed,
    create,
    ended,
    entry,
    failed,
    finish,
    park,
    parked,
    question,
    run,
    timer,
)

S = ExecutionStatus
LATER = NOW + SECOND


def statuses(store: Store, execution: ExecutionRecord) -> list[WaitStatus]:
    return [wait.status for wait in store.list_waits(execution.id)]


def parent_and_child(store: Store) -> tuple[ExecutionRecord, ExecutionRecord]:
    """Return a waiting parent and the running child that it waits for."""
    parent = run(store)
    child = run(store, parent_id=parent.id, parent_position="child#1")
    return park(store, child_wait(parent, child.id), execution=parent), child


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.CANCELLED])
def test_open_waits_are_closed_when_their_execution_ends(
    store: Store, status: ExecutionStatus
) -> None:
    execution, child = run(store), run(store)
    waits = (
        question(execution),
        timer(execution, wake_at=LATER, created_at=NOW + 1),
        child_wait(execution, child.id, created_at=NOW + 2),
        question(execution, "wait:done#1", created_at=NOW + 3),
    )
    commit_one(store, entry(execution, waits=waits))
    done = store.resolve_wait(execution.id, "wait:done#1", answered(), now=NOW)

    commit_one(store, entry(execution, outcome=ended(status, LATER)))

    assert store.list_waits(execution.id) == [
        *(replace(wait, status=WaitStatus.CLOSED, resolved_at=LATER) for wait in waits[:3]),
        done,
    ]
    assert store.list_open_waits("default", limit=9) == []
    assert store.wake_due(now=LATER, limit=9) == []
    assert store.verify() == []


def test_waits_that_are_asked_with_the_end_are_closed_too(store: Store) -> None:
    execution = run(store)

    commit_one(store, entry(execution, waits=(question(execution),), outcome=completed(LATER)))

    assert store.list_waits(execution.id) == [
        question(execution, status=WaitStatus.CLOSED, resolved_at=LATER)
    ]


def test_waits_are_closed_when_their_execution_is_cancelled(store: Store) -> None:
    execution = run(store)
    park(store, question(execution), execution=execution)

    store.request_cancel(execution.id, by="me", now=LATER)

    assert store.list_waits(execution.id) == [
        question(execution, status=WaitStatus.CLOSED, resolved_at=LATER)
    ]


def test_waits_of_a_running_execution_stay_open_when_it_is_asked_to_stop(store: Store) -> None:
    execution = run(store)
    commit_one(store, entry(execution, waits=(question(execution),)))

    store.request_cancel(execution.id, by="me", now=LATER)

    assert statuses(store, execution) == [WaitStatus.OPEN]


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_waits_are_closed_when_a_lost_execution_is_given_up(
    store: Store, *, is_cancelled: bool
) -> None:
    execution = run(store, max_recoveries=0)
    commit_one(store, entry(execution, waits=(question(execution),)))
    if is_cancelled:
        store.request_cancel(execution.id, by="me", now=NOW)

    [reaped] = store.reap(now=LATER, dead_owners=["owner-1"])

    assert reaped.status is (S.CANCELLED if is_cancelled else S.FAILED)
    assert store.list_waits(execution.id) == [
        question(execution, status=WaitStatus.CLOSED, resolved_at=LATER)
    ]


def test_waits_of_a_lost_execution_that_is_continued_stay_open(store: Store) -> None:
    execution = run(store)
    commit_one(store, entry(execution, waits=(question(execution),)))

    store.reap(now=LATER, dead_owners=["owner-1"])

    assert statuses(store, execution) == [WaitStatus.OPEN]


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.CANCELLED])
def test_end_of_a_child_wakes_its_parent(store: Store, status: ExecutionStatus) -> None:
    parent, child = parent_and_child(store)

    commit_one(store, entry(child, outcome=ended(status, LATER)))

    assert store.get_execution(parent.id) == replace(parent, status=S.PENDING, runnable_at=LATER)
    assert store.list_waits(parent.id) == [
        child_wait(parent, child.id, status=WaitStatus.ANSWERED, resolved_at=LATER)
    ]
    assert store.verify() == []


def test_cancelled_child_wakes_its_parent(store: Store) -> None:
    parent = run(store)
    child = create(store, parent_id=parent.id, parent_position="child#1")
    park(store, child_wait(parent, child.id), execution=parent)

    store.request_cancel(child.id, by="me", now=LATER)

    assert store.get_execution(parent.id).status is S.PENDING
    assert statuses(store, parent) == [WaitStatus.ANSWERED]


def test_lost_child_that_is_given_up_wakes_its_parent(store: Store) -> None:
    parent = run(store)
    child = run(store, parent_id=parent.id, parent_position="child#1", max_recoveries=0)
    park(store, child_wait(parent, child.id), execution=parent)

    [reaped] = store.reap(now=LATER, dead_owners=["owner-1"])

    assert reaped.id == child.id
    woken = store.get_execution(parent.id)
    assert (woken.status, woken.runnable_at) == (S.PENDING, LATER)


def test_parent_that_is_cancelled_with_its_child_is_not_woken_by_it(store: Store) -> None:
    parent = run(store)
    child = create(store, parent_id=parent.id, parent_position="child#1")
    park(store, child_wait(parent, child.id), execution=parent)

    store.request_cancel(parent.id, by="me", now=LATER)

    assert store.get_statuses([parent.id, child.id]) == {
        parent.id: S.CANCELLED,
        child.id: S.CANCELLED,
    }
    assert statuses(store, parent) == [WaitStatus.CLOSED]
    assert store.verify() == []


def test_everyone_who_waits_for_an_execution_is_woken(store: Store) -> None:
    awaited = run(store)
    parents = [run(store) for _ in range(3)]
    for parent in parents:
        park(store, child_wait(parent, awaited.id), execution=parent)

    commit_one(store, entry(awaited, outcome=completed(LATER)))

    assert store.find_pending_ids(now=LATER, limit=9) == [parent.id for parent in parents]


def test_running_parent_finds_its_child_ended_when_it_parks(store: Store) -> None:
    parent = run(store)
    child = run(store, parent_id=parent.id, parent_position="child#1")
    commit_one(store, entry(parent, waits=(child_wait(parent, child.id),)))
    commit_one(store, entry(child, outcome=completed(LATER)))

    commit_one(store, entry(parent, outcome=parked("result:child#1")))

    woken = store.get_execution(parent.id)
    assert (woken.status, woken.runnable_at) == (S.PENDING, LATER)


@pytest.mark.parametrize("is_deleted", [False, True])
def test_wait_for_a_child_that_has_ended_is_written_as_answered(
    store: Store, *, is_deleted: bool
) -> None:
    parent = run(store)
    child = finish(store)
    if is_deleted:
        store.delete_execution(child.id)

    woken = park(store, child_wait(parent, child.id, created_at=LATER), execution=parent)

    assert woken.status is S.PENDING
    assert store.list_waits(parent.id) == [
        child_wait(
            parent, child.id, created_at=LATER, status=WaitStatus.ANSWERED, resolved_at=LATER
        )
    ]


def test_child_that_was_retried_is_waited_for_again(store: Store) -> None:
    parent, child = parent_and_child(store)
    commit_one(store, entry(child, outcome=failed()))
    store.retry_execution(child.id, reopen=[], now=LATER)
    [parent] = store.claim_executions(claim(), now=LATER, limit=9, exec_ids=[parent.id])

    waiting = park(store, child_wait(parent, child.id, created_at=LATER), execution=parent)

    assert waiting.status is S.WAITING
    assert store.list_waits(parent.id) == [child_wait(parent, child.id, created_at=LATER)]


@pytest.mark.parametrize("is_parent_first", [False, True])
def test_child_that_ends_in_the_commit_in_which_its_parent_parks_wakes_it(
    store: Store, *, is_parent_first: bool
) -> None:
    parent = run(store)
    child = run(store, parent_id=parent.id, parent_position="child#1")
    writes = [
        entry(
            parent, waits=(child_wait(parent, child.id),), outcome=parked("result:child#1")
        ),
        entry(child, outcome=completed(LATER)),
    ]  # fmt: skip

    store.commit(writes if is_parent_first else writes[::-1])

    assert store.get_execution(parent.id).status is S.PENDING
    assert statuses(store, parent) == [WaitStatus.ANSWERED]


def failed_in_a_wait(store: Store, kind: CallKind = CallKind.WAIT) -> ExecutionRecord:
    """Return a failed execution whose wait was aborted, and another of which was answered."""
    execution = run(store)
    waits = (question(execution, wake_at=LATER), question(execution, "wait:other#1"))
    commit_one(store, entry(execution, waits=waits))
    for wait in waits:
        store.resolve_wait(execution.id, wait.position, answered("3"), now=NOW)
    rows = [
        call("wait:approve#1", kind=kind, status=CallStatus.FAILED),
        call("wait:other#1", kind=kind, status=CallStatus.RUNNING),
    ]
    commit_one(store, entry(execution, *rows, outcome=failed()))
    return store.get_execution(execution.id)


@pytest.mark.parametrize("kind", [CallKind.WAIT, CallKind.TIMER])
def test_retry_asks_again_what_a_reopened_call_had_asked(store: Store, kind: CallKind) -> None:
    execution = failed_in_a_wait(store, kind)

    store.retry_execution(execution.id, reopen=["wait:approve#1", "wait:other#1"], now=LATER)

    [other] = store.list_waits(execution.id, positions=["wait:other#1"])
    assert store.list_waits(execution.id) == [question(execution), other]
    assert (other.status, other.answer) == (WaitStatus.ANSWERED, "3")
    assert [row.status for row in store.list_calls(execution.id)] == [
        CallStatus.PENDING,
        CallStatus.RUNNING,
    ]


def test_automatic_retry_asks_again_what_a_reopened_call_had_asked(store: Store) -> None:
    execution = run(store, retries_left=1)
    commit_one(store, entry(execution, waits=(question(execution),)))
    store.resolve_wait(execution.id, "wait:approve#1", answered("3"), now=NOW)
    row = call("wait:approve#1", kind=CallKind.WAIT, status=CallStatus.FAILED)
    outcome = Outcome(status=S.PENDING, failure=FAILURE, reopen=("wait:approve#1",))

    commit_one(store, entry(execution, row, outcome=outcome))

    assert store.list_waits(execution.id) == [question(execution)]


def test_reopened_timer_keeps_its_moment(store: Store) -> None:
    execution = run(store)
    rows = [call("timer:sleep#1", kind=CallKind.TIMER, status=CallStatus.FAILED)]
    waits = (timer(execution, wake_at=LATER),)
    commit_one(store, entry(execution, *rows, waits=waits, outcome=failed()))

    store.retry_execution(execution.id, reopen=["timer:sleep#1"], now=NOW)

    assert store.list_waits(execution.id) == [*waits]


def test_wait_for_a_child_that_has_ended_is_not_reopened(store: Store) -> None:
    parent, child = parent_and_child(store)
    commit_one(store, entry(child, outcome=failed()))
    [parent] = store.claim_executions(claim(), now=LATER, limit=9, exec_ids=[parent.id])
    commit_one(
        store, entry(parent, call("result:child#1", status=CallStatus.FAILED), outcome=failed())
    )

    store.retry_execution(parent.id, reopen=["result:child#1"], now=LATER)

    assert statuses(store, parent) == [WaitStatus.ANSWERED]
    assert store.verify() == []


def test_closed_question_is_asked_again_after_a_retry(store: Store) -> None:
    execution = run(store)
    commit_one(store, entry(execution, waits=(question(execution),), outcome=failed()))
    store.retry_execution(execution.id, reopen=[], now=LATER)
    [execution] = store.claim_executions(claim(), now=LATER, limit=9)

    waiting = park(store, question(execution, created_at=LATER), execution=execution)

    assert waiting.status is S.WAITING
    assert store.list_waits(execution.id) == [question(execution, created_at=LATER)]


def test_waits_are_deleted_with_their_execution(store: Store) -> None:
    execution = run(store)
    commit_one(store, entry(execution, waits=(question(execution),), outcome=completed()))

    store.delete_execution(execution.id)

    assert store.list_waits(execution.id) == []


def test_awaited_execution_can_be_deleted_once_it_has_ended(store: Store) -> None:
    parent, child = parent_and_child(store)
    stranger = run(store)
    park(store, child_wait(stranger, child.id), execution=stranger)
    store.request_cancel(parent.id, by="me", now=NOW)
    with pytest.raises(KitaruStateError, match="is running"):
        store.delete_execution(child.id)
    commit_one(store, entry(child, outcome=completed()))

    store.delete_execution(parent.id)

    assert store.get_execution(stranger.id).status is S.PENDING
    assert store.verify() == []


def test_execution_that_waits_for_nothing_is_found_by_verification(store: Store) -> None:
    execution = run(store)
    commit_one(store, entry(execution, outcome=parked()))

    assert store.verify() == [
        f"execution {execution.id!r} is waiting, but none of its waits is open"
    ]
