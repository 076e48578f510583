from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru.model import Claim, ExecutionStatus, HeldLease, Outcome
from kitaru.store import Store
from tests.store.records import (
    LEASE,
    NOW,
    SECOND,
    call,
    claim,
    commit_one,
    completed,
    create,
    entry,
    finish,
    run,
)

S = ExecutionStatus


def test_claimed_execution_is_running_under_the_next_epoch(store: Store) -> None:
    pending = create(store)

    claimed = store.claim_executions(claim("me", NOW + 5), now=NOW + 5, limit=1)

    expected = replace(
        pending,
        status=S.RUNNING,
        epoch=1,
        lease_owner="me",
        lease_expires_at=NOW + 5 + LEASE,
        started_at=NOW + 5,
    )
    assert claimed == [expected]
    assert store.get_execution(pending.id) == expected


def test_second_claim_keeps_the_moment_of_the_first_start(store: Store) -> None:
    execution = run(store)
    commit_one(store, entry(execution, outcome=Outcome(status=S.PENDING, reason="tired")))

    [claimed] = store.claim_executions(claim("other"), now=NOW + SECOND, limit=1)

    assert (claimed.epoch, claimed.started_at, claimed.lease_owner) == (2, NOW, "other")
    assert claimed.status_reason is None


def test_oldest_runnable_executions_are_claimed_first(store: Store) -> None:
    late = create(store, created_at=NOW + 2)
    early = create(store, created_at=NOW)
    middle = create(store, created_at=NOW + 1)
    create(store, created_at=NOW + 100)

    first = store.claim_executions(claim(), now=NOW + 50, limit=2)
    second = store.claim_executions(claim(), now=NOW + 50, limit=9)

    assert [won.id for won in first] == [early.id, middle.id]
    assert [won.id for won in second] == [late.id]


def test_only_the_executions_asked_for_are_claimed(store: Store) -> None:
    wanted, _, finished = create(store), create(store), finish(store)

    won = store.claim_executions(
        claim(), now=NOW, limit=9, exec_ids=[wanted.id, finished.id, "nobody"]
    )

    assert [execution.id for execution in won] == [wanted.id]
    assert store.claim_executions(claim(), now=NOW, limit=9, exec_ids=[]) == []


@pytest.mark.parametrize("status", [S.WAITING, S.COMPLETED, S.FAILED, S.CANCELLED])
def test_only_pending_executions_are_claimed(store: Store, status: ExecutionStatus) -> None:
    finish(store, status)
    run(store)

    assert store.claim_executions(claim(), now=NOW + LEASE * 9, limit=9) == []


def test_leases_are_renewed_even_after_they_expired(store: Store) -> None:
    first, second = run(store), run(store)
    store.request_cancel(second.id, by="me", now=NOW)
    later = NOW + 100 * LEASE

    held = store.renew_leases("owner-1", [(first.id, 1), (second.id, 1)], lease_expires_at=later)

    assert sorted(held, key=lambda lease: lease.exec_id) == [
        HeldLease(first.id, 1, cancel_requested=False),
        HeldLease(second.id, 1, cancel_requested=True),
    ]
    assert store.get_execution(first.id) == replace(first, lease_expires_at=later)


def test_lost_leases_are_missing_from_what_was_renewed(store: Store) -> None:
    mine = run(store)
    stale_epoch = run(store)
    someone_elses = run(store, claim=claim("other"))
    ended = finish(store)
    leases = [
        (mine.id, 1),
        (stale_epoch.id, 2),
        (someone_elses.id, 1),
        (ended.id, 1),
        ("nobody", 1),
    ]

    held = store.renew_leases("owner-1", leases, lease_expires_at=NOW + 2 * LEASE)

    assert [lease.exec_id for lease in held] == [mine.id]
    assert store.get_execution(stale_epoch.id) == stale_epoch
    assert store.get_execution(someone_elses.id) == someone_elses


def test_renewing_nothing_is_nothing(store: Store) -> None:
    assert store.renew_leases("owner-1", [], lease_expires_at=NOW) == []


def test_running_executions_are_listed_oldest_first_whoever_owns_them(store: Store) -> None:
    young = run(store, created_at=NOW + 1, project="other")
    old = run(store, created_at=NOW, claim=claim("other"))
    create(store)
    finish(store)

    assert store.list_running() == [old, young]


def test_expired_lease_is_reaped(store: Store) -> None:
    execution = run(store)
    now = NOW + LEASE + 1

    reaped = store.reap(now=now, dead_owners=[])

    expected = replace(
        execution,
        status=S.PENDING,
        lease_owner=None,
        lease_expires_at=None,
        recoveries=1,
        runnable_at=now,
        status_reason="its runner was lost",
    )
    assert reaped == [expected]
    assert store.get_execution(execution.id) == expected


def test_lease_that_expires_this_very_moment_is_left_alone(store: Store) -> None:
    execution = run(store)

    assert store.reap(now=NOW + LEASE, dead_owners=[]) == []

    assert store.get_execution(execution.id) == execution


def test_dead_owners_lose_their_leases_at_once(store: Store) -> None:
    dead, _ = run(store, claim=claim("dead")), run(store, claim=claim("alive"))

    reaped = store.reap(now=NOW, dead_owners=["dead", "unknown"])

    assert [execution.id for execution in reaped] == [dead.id]


def test_only_the_executions_asked_for_are_reaped(store: Store) -> None:
    first, second = run(store), run(store)
    late = NOW + 2 * LEASE

    assert store.reap(now=late, dead_owners=["owner-1"], exec_ids=[]) == []
    reaped = store.reap(now=late, dead_owners=[], exec_ids=[second.id])

    assert [execution.id for execution in reaped] == [second.id]
    assert store.get_execution(first.id) == first


def test_loss_is_counted_once_however_often_it_is_noticed(store: Store) -> None:
    run(store)
    late = NOW + 2 * LEASE

    assert len(store.reap(now=late, dead_owners=["owner-1"])) == 1
    assert store.reap(now=late, dead_owners=["owner-1"]) == []


def test_lost_execution_that_was_to_be_cancelled_is_cancelled(store: Store) -> None:
    execution = run(store)
    store.request_cancel(execution.id, by="me", now=NOW)
    late = NOW + 2 * LEASE

    [reaped] = store.reap(now=late, dead_owners=[])

    assert (reaped.status, reaped.ended_at, reaped.recoveries) == (S.CANCELLED, late, 1)
    assert (reaped.lease_owner, reaped.status_reason) == (None, None)


def test_execution_that_loses_its_runner_too_often_fails_with_the_reason(store: Store) -> None:
    execution = run(store, max_recoveries=1)
    store.reap(now=NOW, dead_owners=["owner-1"])
    store.claim_executions(claim(), now=NOW, limit=1)

    [reaped] = store.reap(now=NOW, dead_owners=["owner-1"])

    assert reaped.id == execution.id
    assert (reaped.status, reaped.recoveries, reaped.ended_at) == (S.FAILED, 2, NOW)
    assert reaped.status_reason == (
        "its runner was lost 2 times, more often than `max_recoveries` (1) allows"
    )


def test_execution_that_may_never_lose_its_runner_fails_at_the_first_loss(store: Store) -> None:
    run(store, max_recoveries=0)

    [reaped] = store.reap(now=NOW, dead_owners=["owner-1"])

    assert (reaped.status, reaped.recoveries) == (S.FAILED, 1)


def test_runner_that_was_reaped_writes_nothing_more(store: Store) -> None:
    execution = run(store)
    store.reap(now=NOW, dead_owners=["owner-1"])
    before_claim = commit_one(store, entry(execution, call()))
    store.claim_executions(Claim(owner="owner-2", lease_expires_at=NOW), now=NOW, limit=1)

    after_claim = commit_one(store, entry(execution, call(), outcome=completed()))

    assert (before_claim.held, after_claim.held) == (False, False)
    assert store.list_calls(execution.id) == []
    assert store.get_execution(execution.id).lease_owner == "owner-2"


def test_unfinished_executions_of_any_project_are_listed_oldest_first(store: Store) -> None:
    young = run(store, created_at=NOW + 2, project="other")
    old = create(store, created_at=NOW)
    finish(store)

    assert store.list_unfinished(limit=9) == [old, young]
    assert store.list_unfinished(limit=1) == [old]


def test_renewal_that_was_long_on_its_way_takes_nothing_back(store: Store) -> None:
    execution = run(store, claim=claim("me"))
    lease = [(execution.id, execution.epoch)]
    store.renew_leases("me", lease, lease_expires_at=NOW + 3 * LEASE)

    held = store.renew_leases("me", lease, lease_expires_at=NOW + 2 * LEASE)

    assert [one.exec_id for one in held] == [execution.id]
    assert store.get_execution(execution.id).lease_expires_at == NOW + 3 * LEASE
