from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru.errors import FailureOrigin, KitaruBackendError, KitaruStateError
from kitaru.model import (
    CallKind,
    CallStatus,
    Committed,
    ExecutionFilter,
    FailureRecord,
    StoredValue,
)
from kitaru.store import Store
from tests.store.records import (
    BLOB,
    FAILURE,
    INLINE,
    NOW,
    artifact,
    attempt,
    call,
    commit_one,
    completed,
    create,
    entry,
    event,
    metadata,
    new_execution,
    run,
)

HELD = Committed(held=True)
LOST = Committed(held=False)

CALLS = [
    call(),
    call("child#1", kind=CallKind.CHILD, type="agent", inputs=BLOB, output=BLOB),
    call("0.2/now#3", kind=CallKind.VALUE, ordered=False, upstreams=("a#1", "b#2")),
    call("cached#1", status=CallStatus.CACHED, cached_from="x/fetch#1", cache_key=b"k" * 16),
    call("failed#1", status=CallStatus.FAILED, inputs=INLINE),
    call("running#1", status=CallStatus.RUNNING),
    call("pending#1", status=CallStatus.PENDING),
    call("empty#1", output=StoredValue("kitaru/1", b"", None, 0)),
    call("grüße-☃#1", output=StoredValue("kitaru/1", b"\x00" * 40_000, None, 40_000)),
]


def test_calls_are_returned_exactly_and_in_the_order_of_writing(store: Store) -> None:
    execution = run(store)

    assert store.commit([entry(execution, *CALLS)]) == [HELD]

    assert store.list_calls(execution.id) == CALLS


@pytest.mark.parametrize("unfinished", [CallStatus.RUNNING, CallStatus.PENDING])
@pytest.mark.parametrize("following", list(CallStatus))
def test_call_without_outcome_is_replaced_in_its_place(
    store: Store, unfinished: CallStatus, following: CallStatus
) -> None:
    execution = run(store)
    commit_one(store, entry(execution, call("a#1", status=unfinished), call("b#1")))
    again = call(
        "a#1", status=following, call_id="mine", type="tool", fingerprint=b"g", epoch=7, inputs=BLOB,
        ordered=False, upstreams=("b#1",), cache_key=b"k", cached_from="x/y", started_at=NOW + 1,
    )  # fmt: skip

    commit_one(store, entry(execution, again))

    assert store.list_calls(execution.id) == [again, call("b#1")]


@pytest.mark.parametrize("recorded", [CallStatus.COMPLETED, CallStatus.CACHED, CallStatus.FAILED])
def test_outcome_of_a_call_is_never_replaced(store: Store, recorded: CallStatus) -> None:
    execution = run(store)
    first = call(status=recorded)
    commit_one(store, entry(execution, first))

    with pytest.raises(KitaruStateError, match=r"'fetch#1' .* has a result already"):
        commit_one(store, entry(execution, call(output=BLOB)))

    assert store.list_calls(execution.id) == [first]


@pytest.mark.parametrize("recorded", [CallStatus.COMPLETED, CallStatus.CACHED, CallStatus.FAILED])
def test_outcome_that_is_written_again_and_a_late_running_row_change_nothing(
    store: Store, recorded: CallStatus
) -> None:
    execution = run(store)
    first = call(status=recorded)
    commit_one(store, entry(execution, first))

    assert commit_one(store, entry(execution, first)) == HELD
    assert commit_one(store, entry(execution, call(status=CallStatus.RUNNING))) == HELD
    assert store.list_calls(execution.id) == [first]


def test_two_records_of_one_position_in_one_transaction_keep_their_order(store: Store) -> None:
    execution = run(store)

    store.commit(
        [
            entry(execution, call(status=CallStatus.RUNNING), call("b#1")),
            entry(execution, call(), call(status=CallStatus.RUNNING)),
        ]
    )

    assert store.list_calls(execution.id) == [call(), call("b#1")]


def test_many_calls_in_one_transaction_are_all_written(store: Store) -> None:
    execution = run(store)
    calls = [call(f"step#{number}") for number in range(300)]

    store.commit([entry(execution, *calls[:5]), entry(execution, *calls[5:])])

    assert store.list_calls(execution.id) == calls


def test_attempts_are_added_once(store: Store) -> None:
    execution = run(store)
    first, second = attempt(number=1), attempt(number=2)
    commit_one(store, entry(execution, attempts=(second, first)))

    commit_one(store, entry(execution, attempts=(replace(first, ended_at=NOW + 99),)))

    assert store.list_attempts(execution.id) == [first, second]


def test_artifacts_are_added_once_in_order(store: Store) -> None:
    execution = run(store)
    first, second = artifact(value=BLOB), artifact(attempt_failed=True, tags=())
    commit_one(store, entry(execution, artifacts=(first, second)))

    commit_one(store, entry(execution, artifacts=(replace(first, name="other"),)))

    assert store.list_artifacts(execution.id) == [first, second]


def test_metadata_replaces_the_same_key_of_the_same_scope(store: Store) -> None:
    execution = run(store)
    commit_one(store, entry(execution, metadata=(metadata("a", "1"), metadata("b", "2"))))

    commit_one(
        store,
        entry(execution, metadata=(metadata("a", "3"), metadata("a", "4", position="fetch#1"))),
    )

    assert store.list_metadata(execution.id) == [
        metadata("a", "3"),
        metadata("b", "2"),
        metadata("a", "4", position="fetch#1"),
    ]


def test_events_are_appended_with_a_growing_cursor(store: Store) -> None:
    execution = run(store)
    first, second = event("one", payload='{"a":1}', position="fetch#1"), event("two")
    commit_one(store, entry(execution, events=(first,)))
    commit_one(store, entry(execution, events=(second, second)))

    listed = store.list_events(execution.id)

    cursors = [cursor for cursor, _ in listed]
    assert [found for _, found in listed] == [first, second, second]
    assert cursors == sorted(set(cursors))
    assert store.list_events(execution.id, after=cursors[0]) == listed[1:]
    assert store.list_events(execution.id, limit=1) == listed[:1]


def test_entry_of_a_stale_epoch_writes_nothing(store: Store) -> None:
    execution = run(store)
    stale = entry(
        replace(execution, epoch=0),
        call(),
        attempts=(attempt(),),
        artifacts=(artifact(),),
        metadata=(metadata(),),
        events=(event(),),
        outcome=completed(),
    )

    assert store.commit([stale]) == [LOST]

    assert store.get_execution(execution.id) == execution
    assert store.list_calls(execution.id) == []
    assert store.list_attempts(execution.id) == []
    assert store.list_artifacts(execution.id) == []
    assert store.list_metadata(execution.id) == []
    assert store.list_events(execution.id) == []


def test_entry_for_an_execution_that_is_not_running_writes_nothing(store: Store) -> None:
    pending = create(store)

    assert commit_one(store, entry(pending, call())) == LOST
    assert commit_one(store, entry(replace(pending, id="nobody"), call())) == LOST

    assert store.list_calls(pending.id) == []


def test_stale_entry_leaves_the_others_of_its_transaction_alone(store: Store) -> None:
    mine, theirs, third = run(store), run(store), run(store)
    new = new_execution()

    committed = store.commit(
        [
            entry(mine, call()),
            entry(replace(theirs, epoch=9), call()),
            new,
            entry(third, call()),
            entry(mine, call("b#1")),
        ]
    )

    assert committed == [HELD, LOST, committed[2], HELD, HELD]
    assert committed[2].created
    assert store.list_calls(mine.id) == [call(), call("b#1")]
    assert store.list_calls(theirs.id) == []
    assert store.list_calls(third.id) == [call()]


def test_entry_after_its_claims_outcome_in_one_transaction_is_lost(store: Store) -> None:
    execution = run(store)

    committed = store.commit(
        [entry(execution, call(), outcome=completed()), entry(execution, call("b#1"))]
    )

    assert committed == [HELD, LOST]
    assert store.list_calls(execution.id) == [call()]


def test_runner_learns_of_a_cancel_request_with_its_next_commit(store: Store) -> None:
    execution = run(store)
    store.request_cancel(execution.id, by="me", now=NOW)

    committed = commit_one(store, entry(execution, call()))

    assert committed == Committed(held=True, cancel_requested=True)
    assert store.list_calls(execution.id) == [call()]


def test_record_that_contradicts_itself_writes_nothing_of_its_transaction(store: Store) -> None:
    execution = run(store)
    torn = call("b#1", output=None)

    with pytest.raises(KitaruBackendError, match="contradicts"):
        store.commit([new_execution(), entry(execution, call()), entry(execution, torn)])

    assert store.list_calls(execution.id) == []
    assert store.count_executions(ExecutionFilter(project="default")) == 1
    assert commit_one(store, entry(execution, call())) == HELD


def test_failure_with_text_that_utf8_cannot_express_is_recorded_without_it(store: Store) -> None:
    execution = run(store)
    failure = FailureRecord(
        exception_type="E", message="\udc80 bad", traceback="\ud800", origin=FailureOrigin.BACKEND,
        exception_codec="pickle/1", exception=b"\xff", positions=("\udc80#1",),
    )  # fmt: skip

    commit_one(store, entry(execution, call(status=CallStatus.FAILED, failure=failure)))

    [recorded] = store.list_calls(execution.id)
    assert recorded.failure == replace(failure, message="? bad", traceback="?", positions=("?#1",))


def test_failure_survives_with_all_its_parts(store: Store) -> None:
    execution = run(store)
    commit_one(store, entry(execution, call(status=CallStatus.FAILED)))

    assert store.list_calls(execution.id)[0].failure == FAILURE


def test_value_of_many_megabytes_is_kept_in_a_row_if_someone_asks_for_it(store: Store) -> None:
    execution = run(store)
    data = bytes(range(256)) * 40_000
    huge = call(output=StoredValue("kitaru/1", data, None, len(data)))

    commit_one(store, entry(execution, huge))

    assert store.list_calls(execution.id) == [huge]


def test_nothing_is_known_of_unknown_executions(store: Store) -> None:
    assert store.list_calls("nobody") == []
    assert store.list_attempts("nobody") == []
    assert store.list_artifacts("nobody") == []
    assert store.list_metadata("nobody") == []
    assert store.list_events("nobody") == []


def test_empty_commit_is_nothing(store: Store) -> None:
    assert store.commit([]) == []


def test_blobs_that_rows_name_are_listed_once_and_in_order(store: Store) -> None:
    def blob(letter: str) -> StoredValue:
        return StoredValue("kitaru/1", None, letter * 64, 100)

    execution = run(store, inputs=blob("c"))
    commit_one(
        store,
        entry(
            execution,
            call(inputs=blob("b"), output=blob("a")),
            artifacts=(artifact(value=blob("d")), artifact(value=blob("a"))),
            outcome=replace(completed(), result=blob("e")),
        ),
    )

    assert store.list_blob_digests() == [letter * 64 for letter in "abcde"]
