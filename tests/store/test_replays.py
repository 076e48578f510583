from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru.errors import (
    KitaruBackendError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
)
from kitaru.model import (
    CallRecord,
    CallStatus,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
)
from kitaru.store import Store
from tests.store.records import (
    BLOB,
    FAILURE,
    NOW,
    call,
    claim,
    commit_one,
    completed,
    create,
    ended,
    entry,
    finish,
    new_execution,
    run,
)

S = ExecutionStatus
PLAN = {"version": 1, "from": "a#1", "overridden": ["b#1"], "failed": []}


def replay_of(origin: ExecutionRecord, store: Store, status: ExecutionStatus) -> ExecutionRecord:
    if status is S.PENDING:
        return create(store, origin_id=origin.id)
    execution = run(store, origin_id=origin.id)
    if status is S.WAITING:
        commit_one(
            store, entry(execution, outcome=replace(completed(), status=status, result=None))
        )
    return store.get_execution(execution.id)


def test_replay_is_created_with_its_plan_and_its_overridden_calls(store: Store) -> None:
    origin = finish(store)
    rows = (
        call("b#1", status=CallStatus.OVERRIDDEN, cached_from=f"{origin.id}/b#1"),
        call("c#1", status=CallStatus.OVERRIDDEN, output=BLOB, upstreams=("b#1",)),
    )

    replay = create(store, origin_id=origin.id, replay_plan=PLAN, calls=rows)

    assert (replay.origin_id, replay.replay_plan) == (origin.id, PLAN)
    assert store.get_execution(replay.id) == replay
    assert store.list_calls(replay.id) == [*rows]
    assert store.list_blob_digests() == [BLOB.digest]


def test_replay_that_was_created_before_gets_no_more_calls(store: Store) -> None:
    origin = finish(store)
    new = new_execution(origin_id=origin.id, calls=(call("a#1", status=CallStatus.OVERRIDDEN),))
    commit_one(store, new)

    again = commit_one(store, replace(new, calls=(call("b#1", status=CallStatus.OVERRIDDEN),)))

    assert not again.created
    assert [row.position for row in store.list_calls(new.id)] == ["a#1"]


@pytest.mark.parametrize(
    "row",
    [
        call(status=CallStatus.REUSED),
        call(status=CallStatus.REUSED, output=None, failure=FAILURE),
        call(status=CallStatus.REUSED, output=BLOB, cached_from="x/fetch#1"),
    ],
)
def test_reused_call_holds_a_result_or_a_failure(store: Store, row: CallRecord) -> None:
    execution = run(store)

    commit_one(store, entry(execution, row))

    assert store.list_calls(execution.id) == [row]


@pytest.mark.parametrize(
    "row",
    [
        call(status=CallStatus.REUSED, output=None),
        call(status=CallStatus.REUSED, failure=FAILURE),
        call(status=CallStatus.OVERRIDDEN, output=None),
        call(status=CallStatus.OVERRIDDEN, output=None, failure=FAILURE),
        call(status=CallStatus.OVERRIDDEN, ended_at=None),
        call(status=CallStatus.PENDING, ended_at=NOW),
    ],
)
def test_call_that_contradicts_itself_is_refused(store: Store, row: CallRecord) -> None:
    execution = run(store)

    with pytest.raises(KitaruBackendError, match="contradicts itself"):
        commit_one(store, entry(execution, row))


def test_plan_that_is_not_json_is_refused(store: Store) -> None:
    with pytest.raises(KitaruUsageError, match="a replay plan must hold JSON values only"):
        create(store, origin_id="x", replay_plan={"from": object()})


def test_replays_of_an_execution_are_listed_and_counted(store: Store) -> None:
    origin, other = finish(store), finish(store)
    first = create(store, origin_id=origin.id)
    second = run(store, origin_id=origin.id, created_at=NOW + 1)
    create(store, origin_id=other.id)
    create(store, origin_id=origin.id, project="other")
    where = ExecutionFilter(project="default", origin_id=origin.id)

    assert store.list_executions(where, limit=9) == [second, first]
    assert store.list_executions(where, limit=1, before=(NOW + 1, second.id)) == [first]
    assert store.count_executions(where) == 2
    assert store.list_executions(replace(where, status=S.PENDING), limit=9) == [first]


@pytest.mark.parametrize("status", [S.PENDING, S.RUNNING, S.WAITING])
def test_what_an_unfinished_replay_reads_cannot_be_deleted(
    store: Store, status: ExecutionStatus
) -> None:
    parent = finish(store)
    origin = finish(store, parent_id=parent.id, parent_position="c#1")
    child = finish(store, parent_id=origin.id, parent_position="c#1")
    replay = replay_of(origin, store, status)

    for execution in [parent, origin, child]:
        with pytest.raises(KitaruStateError) as raised:
            store.delete_execution(execution.id)
        assert str(raised.value) == (
            f"execution {execution.id!r} cannot be deleted while {replay.id!r}, a replay of"
            f" {origin.id!r}, is {status}, which may read it. Cancel that with"
            f" `kitaru executions cancel {replay.id}`, or wait for it."
        )

    assert store.get_execution(child.id) == child


def test_what_a_finished_replay_has_read_can_be_deleted(store: Store) -> None:
    origin = finish(store)
    replay = finish(store, origin_id=origin.id)

    store.delete_execution(origin.id)

    assert store.get_execution(replay.id) == replay
    assert store.verify() == []


def test_finished_replay_can_be_deleted(store: Store) -> None:
    origin = run(store)
    replay = finish(store, origin_id=origin.id)

    store.delete_execution(replay.id)

    assert store.get_execution(origin.id) == origin


def test_what_is_gone_cannot_be_replayed(store: Store) -> None:
    origin = finish(store)
    new = new_execution(origin_id=origin.id)
    store.delete_execution(origin.id)

    with pytest.raises(KitaruNotFoundError, match="to replay; it was deleted meanwhile"):
        commit_one(store, new)


def test_replay_that_was_created_before_its_origin_went_is_still_found(store: Store) -> None:
    origin = finish(store)
    new = new_execution(origin_id=origin.id, claim=claim())
    replay = commit_one(store, new).execution
    assert replay is not None
    commit_one(store, entry(replay, outcome=ended(ExecutionStatus.CANCELLED)))
    store.delete_execution(origin.id)

    again = commit_one(store, new)

    assert (again.created, again.execution) == (False, store.get_execution(replay.id))
