from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.model import CallKind, CallStatus, Committed, ExecutionFilter, ExecutionStatus
from kitaru.store import Store
from tests.store.records import (
    BLOB,
    INLINE,
    LEASE,
    NOW,
    call,
    claim,
    commit_one,
    completed,
    create,
    entry,
    new_execution,
    run,
)

EVERYTHING = ExecutionFilter(project="default")


def test_pending_execution_is_returned_as_it_is_stored(store: Store) -> None:
    new = new_execution(
        tags=("nightly", "eu"), idempotency_key="k", max_recoveries=3, retries_left=2
    )

    committed = commit_one(store, new)

    stored = store.get_execution(new.id)
    assert committed == Committed(held=True, execution=stored, created=True)
    assert stored.status is ExecutionStatus.PENDING
    assert stored.epoch == 0
    assert (stored.lease_owner, stored.lease_expires_at, stored.started_at) == (None, None, None)
    assert stored.runnable_at == stored.created_at == NOW
    assert stored.spec == new.spec
    assert stored.tags == ("nightly", "eu")
    assert (stored.max_recoveries, stored.retries_left, stored.recoveries) == (3, 2, 0)


def test_execution_created_as_claimed_is_running_under_its_first_epoch(store: Store) -> None:
    new = new_execution(claim=claim("me"))

    committed = commit_one(store, new)

    stored = store.get_execution(new.id)
    assert committed == Committed(held=True, execution=stored, created=True)
    assert stored.status is ExecutionStatus.RUNNING
    assert (stored.epoch, stored.lease_owner) == (1, "me")
    assert (stored.lease_expires_at, stored.started_at) == (NOW + LEASE, NOW)


@pytest.mark.parametrize("value", [INLINE, BLOB, replace(INLINE, data=b"", size=0)])
def test_inputs_are_stored_exactly(store: Store, value: object) -> None:
    assert store.get_execution(create(store, inputs=value).id).inputs == value


def test_same_idempotency_key_gives_the_first_execution(store: Store) -> None:
    first = create(store, idempotency_key="order-7")

    again = commit_one(store, new_execution(idempotency_key="order-7", claim=claim()))

    assert again == Committed(held=True, execution=first, created=False)
    assert store.count_executions(EVERYTHING) == 1


@pytest.mark.parametrize("other", [{"flow": "other"}, {"project": "other"}])
def test_idempotency_key_counts_within_one_flow_of_one_project(
    store: Store, other: dict[str, str]
) -> None:
    create(store, idempotency_key="order-7")

    committed = commit_one(store, new_execution(idempotency_key="order-7", **other))

    assert committed.created


def test_same_creation_again_gives_what_it_created(store: Store) -> None:
    new = new_execution(claim=claim())
    first = commit_one(store, new)

    again = commit_one(store, new)

    assert again == replace(first, created=False)


def test_two_creations_with_one_key_in_one_transaction_make_one_execution(store: Store) -> None:
    writes = [new_execution(idempotency_key="k"), new_execution(idempotency_key="k")]

    first, second = store.commit(writes)

    assert first.created
    assert second == Committed(held=True, execution=first.execution, created=False)


def test_child_and_its_parents_call_are_written_together(store: Store) -> None:
    parent = run(store)
    row = call("child#1", kind=CallKind.CHILD, status=CallStatus.COMPLETED)
    new = new_execution(
        parent_id=parent.id, parent_position="child#1", parent_epoch=1, parent_call=row
    )

    committed = commit_one(store, new)

    assert committed.created
    assert store.get_execution(new.id).parent_id == parent.id
    assert store.list_calls(parent.id) == [row]


def test_same_place_in_a_parent_gives_the_first_child_and_writes_nothing(store: Store) -> None:
    parent = run(store)
    place = {"parent_id": parent.id, "parent_position": "child#1", "parent_epoch": 1}
    first = create(store, **place)

    again = commit_one(store, new_execution(**place, parent_call=call("child#1")))

    assert again == Committed(held=True, execution=first, created=False)
    assert store.list_calls(parent.id) == []


def test_child_of_a_lost_claim_is_refused(store: Store) -> None:
    parent = run(store)
    place = {"parent_id": parent.id, "parent_position": "child#1", "parent_call": call("child#1")}

    stale = commit_one(store, new_execution(**place, parent_epoch=0))
    commit_one(store, entry(parent, outcome=completed()))
    ended = commit_one(store, new_execution(**place, parent_epoch=1))

    assert [stale, ended] == [Committed(held=False), Committed(held=False)]
    assert store.count_executions(EVERYTHING) == 1
    assert store.list_calls(parent.id) == []


def test_child_of_a_parent_that_is_to_be_cancelled_is_not_created(store: Store) -> None:
    parent = run(store)
    store.request_cancel(parent.id, by="me", now=NOW)

    committed = commit_one(
        store, new_execution(parent_id=parent.id, parent_position="child#1", parent_epoch=1)
    )

    assert committed == Committed(held=True, cancel_requested=True)
    assert store.count_executions(EVERYTHING) == 1


def test_child_without_an_epoch_needs_only_that_its_parent_exists(store: Store) -> None:
    parent = create(store)

    committed = commit_one(store, new_execution(parent_id=parent.id, parent_position="child#1"))

    assert committed.created


def test_child_of_an_unknown_parent_is_refused(store: Store) -> None:
    with pytest.raises(KitaruNotFoundError, match="no execution 'nobody'"):
        commit_one(store, new_execution(parent_id="nobody", parent_position="child#1"))


def test_spec_that_is_no_json_is_refused_by_name(store: Store) -> None:
    with pytest.raises(KitaruUsageError, match="JSON values only"):
        commit_one(store, new_execution(spec={"when": object()}))


def test_name_that_utf8_cannot_express_is_refused_as_a_bad_call(store: Store) -> None:
    with pytest.raises(KitaruUsageError, match="lone surrogates"):
        commit_one(store, new_execution(flow="\udc80"))

    assert store.count_executions(EVERYTHING) == 0


def test_number_that_no_column_can_hold_is_refused_as_a_bad_call(store: Store) -> None:
    with pytest.raises(KitaruUsageError, match="number"):
        commit_one(store, new_execution(created_at=2**70))
