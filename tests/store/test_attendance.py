from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kitaru.fleet import ClaimFilter, WorkerRecord
from kitaru.model import ExecutionRecord, ExecutionStatus, Outcome, WaitKind
from kitaru.store import Store
from tests.store.records import (
    LEASE,
    NOW,
    SECOND,
    claim,
    commit_one,
    create,
    entry,
    question,
    run,
    timer,
)

S = ExecutionStatus
PAUSE = 10 * SECOND


def worker(owner: str = "worker-1", **fields: Any) -> WorkerRecord:
    given: dict[str, Any] = {
        "project": "default",
        "stack": "local",
        "code_keys": ("/src|flows:research",),
        "concurrency": 4,
        "running": 1,
        "started_at": NOW,
        "seen_at": NOW,
        **fields,
    }
    return WorkerRecord(owner=owner, **given)


def hold(store: Store) -> ExecutionRecord:
    """Return an execution that someone has stopped by hand."""
    execution = run(store)
    outcome = Outcome(status=S.PENDING, reason="interrupted", runnable_at=NOW, held_at=NOW)
    commit_one(store, entry(execution, outcome=outcome))
    return store.get_execution(execution.id)


def launches(store: Store, now: int = NOW, limit: int = 9, **fields: Any) -> list[str]:
    given: dict[str, Any] = {
        "due": now,
        "project": None,
        "stack": "local",
        "seen_since": now - 10 * SECOND,
        "pause": PAUSE,
        **fields,
    }
    return store.reserve_launches(now=now, limit=limit, **given)


@pytest.mark.parametrize(
    "where",
    [
        ClaimFilter(project="other"),
        ClaimFilter(stack="other"),
        ClaimFilter(code_keys=["/src|flows:other"]),
        ClaimFilter(code_keys=["/elsewhere|flows:research"]),
        ClaimFilter(code_keys=[]),
    ],
)
def test_claim_leaves_what_does_not_fit(store: Store, where: ClaimFilter) -> None:
    create(store)

    assert store.claim_executions(claim(), now=NOW, limit=9, where=where) == []


def test_claim_wins_what_fits_and_is_not_left_out(store: Store) -> None:
    left, won = create(store), create(store)
    where = ClaimFilter(
        project="default",
        stack="local",
        code_keys=["/|x:y", "/src|flows:research"],
        besides=[left.id],
    )

    claimed = store.claim_executions(claim(), now=NOW, limit=9, where=where)

    assert [execution.id for execution in claimed] == [won.id]


def test_held_execution_is_claimed_by_name_only(store: Store) -> None:
    held = hold(store)

    assert (held.status, held.held_at) == (S.PENDING, NOW)
    assert store.claim_executions(claim(), now=NOW, limit=9) == []
    assert store.find_pending_ids(now=NOW, limit=9) == []
    assert store.find_pending_ids(now=NOW, limit=9, exec_ids=[held.id]) == []
    assert launches(store) == []
    [claimed] = store.claim_executions(claim(), now=NOW, limit=9, exec_ids=[held.id])
    assert (claimed.status, claimed.held_at) == (S.RUNNING, None)


def test_held_execution_can_be_cancelled(store: Store) -> None:
    held = hold(store)

    cancelled = store.request_cancel(held.id, by="me", now=NOW)

    assert (cancelled.status, cancelled.held_at) == (S.CANCELLED, None)


def test_hold_of_a_cancelled_run_is_dropped(store: Store) -> None:
    execution = run(store)
    store.request_cancel(execution.id, by="me", now=NOW)

    commit_one(store, entry(execution, outcome=Outcome(status=S.PENDING, held_at=NOW)))

    assert store.get_execution(execution.id).status is S.CANCELLED


def test_workers_are_listed_as_they_last_announced_themselves(store: Store) -> None:
    first = worker()
    second = worker("worker-2", code_keys=(), started_at=NOW + 1)
    later = replace(first, running=3, seen_at=NOW + 5)

    for record in (second, first, later):
        store.announce_worker(record)
    before = store.list_workers()
    store.forget_workers(["worker-1", "nobody"])

    assert before == [later, second]
    assert store.list_workers() == [second]


def test_launch_is_reserved_once_and_then_after_ever_longer_pauses(store: Store) -> None:
    execution = create(store)

    moments = [0, 0, 9, 10, 29, 30, 69, 70]
    found = [launches(store, NOW + moment * SECOND) for moment in moments]

    assert [bool(ids) for ids in found] == [True, False, False, True, False, True, False, True]
    assert store.get_execution(execution.id).launches == 4


def test_claim_makes_the_next_launch_begin_anew(store: Store) -> None:
    execution = create(store)
    launches(store)
    [claimed] = store.claim_executions(claim(), now=NOW, limit=1)

    commit_one(store, entry(claimed, outcome=Outcome(status=S.PENDING)))

    assert claimed.launches == 0
    assert launches(store) == [execution.id]


def test_launches_are_reserved_for_the_longest_due(store: Store) -> None:
    late = create(store, created_at=NOW + 1)
    early = create(store)
    create(store, created_at=NOW + SECOND)
    create(store, stack="other")

    assert launches(store, NOW + 5, limit=9) == [early.id, late.id]


@pytest.mark.parametrize(
    ("record", "is_wanted"),
    [
        (worker(), False),
        (worker(code_keys=("/elsewhere|flows:research",)), True),
        (worker(code_keys=("/src|flows:other",)), True),
        (worker(code_keys=("/src|*",)), False),
        (worker(code_keys=("/elsewhere|*",)), True),
        (worker(project="other"), True),
        (worker(stack="other"), True),
        (worker(seen_at=NOW - 11 * SECOND), True),
    ],
)
def test_launch_is_left_to_a_worker_that_serves_the_execution(
    store: Store, record: WorkerRecord, *, is_wanted: bool
) -> None:
    create(store)
    store.announce_worker(record)

    assert bool(launches(store)) is is_wanted


def test_lease_owners_are_listed_once(store: Store) -> None:
    run(store)
    run(store)
    create(store)

    assert store.list_lease_owners() == ["owner-1"]


def test_reap_is_bounded_and_spares_the_one_who_asks(store: Store) -> None:
    mine, *others = [run(store) for _ in range(4)]
    store.reap(now=NOW, dead_owners=["owner-1"], exec_ids=[mine.id])
    store.claim_executions(claim("me"), now=NOW, limit=1, exec_ids=[mine.id])
    later = NOW + 2 * LEASE

    first = store.reap(now=later, dead_owners=(), spared=[mine.id], limit=2)
    rest = store.reap(now=later, dead_owners=(), spared=[mine.id], limit=9)

    reaped = {execution.id for execution in (*first, *rest)}
    assert (len(first), reaped) == (2, {execution.id for execution in others})
    assert store.get_execution(mine.id).status is S.RUNNING


def test_due_waits_of_one_kind_are_ended_alone(store: Store) -> None:
    asked, slept = run(store), run(store)
    for execution, wait in (
        (asked, question(asked, wake_at=NOW + 1)),
        (slept, timer(slept, wake_at=NOW + 1)),
    ):
        outcome = Outcome(status=S.WAITING, waits_for=(wait.position,))
        commit_one(store, entry(execution, waits=(wait,), outcome=outcome))

    timers = store.wake_due(now=NOW + 1, limit=9, kind=WaitKind.TIMER)
    questions = store.wake_due(now=NOW + 1, limit=9, kind=WaitKind.INPUT)

    assert (timers, questions) == ([slept.id], [asked.id])


def test_launches_of_one_project_only_are_reserved_if_that_is_asked_for(store: Store) -> None:
    create(store, project="other")

    assert launches(store, project="default") == []
    assert len(launches(store, project="other")) == 1


def test_those_that_no_process_was_started_for_come_first(store: Store) -> None:
    hopeless = [create(store).id for _ in range(3)]
    launches(store)
    good = create(store)

    assert launches(store, NOW + PAUSE, limit=2) == [good.id, hopeless[0]]


def test_code_that_is_wanted_is_listed_once(store: Store) -> None:
    create(store)
    create(store)
    create(store, code_root="/other")
    create(store, project="other", code_ref="x:y")
    hold(store)

    found = store.list_pending_code(now=NOW, project="default", stack="local")

    assert sorted(found) == [("/other", "flows:research"), ("/src", "flows:research")]


def test_worker_that_loads_what_is_wanted_has_a_moment_to_do_so(store: Store) -> None:
    pending = create(store)
    store.announce_worker(worker(code_keys=("/src|*",), seen_at=NOW + 9 * SECOND))

    assert launches(store, NOW + 2 * SECOND) == []
    assert launches(store, NOW + 4 * SECOND) == [pending.id]
