from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kitaru.client import Execution, ExecutionStatus, KitaruClient, WhyReason
from kitaru.clock import SYSTEM_CLOCK
from kitaru.errors import (
    FailureOrigin,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
)
from kitaru.fleet import WorkerRecord, code_key
from kitaru.model import CallKind, CallStatus, Claim, MetadataRecord, Outcome
from kitaru.model import ExecutionStatus as Status
from kitaru.store import Store
from tests.client.journal import SECOND, START, Book, failure, kept


def test_execution_is_read_with_everything_it_has(store: Store, client: KitaruClient):
    book = Book.begin(store, tags=("nightly",))
    book.call("fetch", upstreams=())
    book.write(metadata=(MetadataRecord(position="", key="cost", value='{"usd": 0.5}'),))
    book.end(Status.COMPLETED)

    found = client.executions.get(book.id)

    assert (found.exec_id, found.flow_name, found.flow_id) == (book.id, "audit", "app.flows:audit")
    assert found.status is ExecutionStatus.COMPLETED
    assert found.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.duration == timedelta(seconds=4)
    assert found.metadata == {"cost": {"usd": 0.5}}
    assert found.frozen_execution_spec == {"stack": "local", "retries": 0}
    assert found.tags == ("nightly",)
    assert found.result() == {"owls": 3}
    assert found.describe_inputs() == {"topic": "owls"}
    assert [call.call_id for call in found.checkpoints] == ["fetch"]


def test_prefix_of_an_id_is_enough(store: Store, client: KitaruClient):
    book = Book.begin(store, id="abc-1")
    Book.begin(store, id="abd-1")

    assert client.executions.get("abc").exec_id == book.id


def test_whole_id_wins_over_ids_that_begin_with_it(store: Store, client: KitaruClient):
    Book.begin(store, id="abc")
    Book.begin(store, id="abcd")

    assert client.executions.get("abc").exec_id == "abc"


def test_ambiguous_prefix_lists_the_candidates(store: Store, client: KitaruClient):
    Book.begin(store, id="abc-1")
    Book.begin(store, id="abc-2")

    with pytest.raises(KitaruStateError) as caught:
        client.executions.get("abc")

    assert str(caught.value) == "several executions' ids begin with 'abc': abc-1, abc-2"


def test_unknown_id_says_how_to_find_ids(client: KitaruClient):
    with pytest.raises(KitaruNotFoundError, match="no execution's id begins with 'nope'"):
        client.executions.get("nope")


def test_empty_id_is_refused(client: KitaruClient):
    with pytest.raises(KitaruUsageError):
        client.executions.get("")


def test_call_shows_its_failed_tries_and_the_final_one(store: Store, client: KitaruClient):
    book = Book.begin(store)
    tries = [book.failed_attempt("fetch#1", number, at=number) for number in (1, 2)]
    book.call("fetch", at=1, seconds=3, attempts=tries)

    [call] = client.executions.get(book.id).checkpoints

    assert [(tried.number, tried.status.value) for tried in call.attempts] == [
        (1, "failed"),
        (2, "failed"),
        (3, "completed"),
    ]
    assert call.attempts[0].attempt_id == f"{book.id}/fetch/1"
    assert call.attempts[0].failure is not None
    assert call.attempts[0].failure.message == "try 1"
    assert call.attempts[2].started_at == call.attempts[1].ended_at
    assert call.duration == timedelta(seconds=3)


def test_failed_call_shows_its_failure(store: Store, client: KitaruClient):
    book = Book.begin(store)
    book.call("parse", status=CallStatus.FAILED, failure=failure())

    [call] = client.executions.get(book.id).checkpoints

    assert call.status is ExecutionStatus.FAILED
    assert call.failure is not None
    assert call.failure.exception_type == "builtins.ValueError"
    assert call.failure.origin is FailureOrigin.USER_CODE
    assert [tried.failure for tried in call.attempts] == [call.failure]


def test_cached_call_is_completed_and_names_its_source(store: Store, client: KitaruClient):
    first = Book.begin(store)
    first.call("fetch", position="fetch#1", call_id="get-it")
    second = Book.begin(store)
    second.call("fetch", status=CallStatus.CACHED, cached_from=f"{first.id}/fetch#1")

    [call] = client.executions.get(second.id).checkpoints

    assert call.status is ExecutionStatus.COMPLETED
    assert call.original_call_id == f"{first.id}/get-it"
    assert call.attempts == ()


def test_source_that_was_deleted_is_named_by_its_position(store: Store, client: KitaruClient):
    book = Book.begin(store)
    book.call("fetch", status=CallStatus.CACHED, cached_from="gone/fetch#1")

    [call] = client.executions.get(book.id).checkpoints

    assert call.original_call_id == "gone/fetch#1"


def test_recorded_values_are_no_checkpoints(store: Store, client: KitaruClient):
    book = Book.begin(store)
    book.call("now", kind=CallKind.VALUE)
    book.call("fetch", upstreams=("now#1",))
    book.call("parse", upstreams=("fetch#1",))

    calls = client.executions.get(book.id).checkpoints

    assert [(call.call_id, call.parent_call_ids) for call in calls] == [
        ("fetch", ()),
        ("parse", ("fetch",)),
    ]


def test_child_flow_is_a_call_that_stands_where_the_child_stands(
    store: Store, client: KitaruClient
):
    book = Book.begin(store)
    book.call("sub", kind=CallKind.CHILD, output=kept("child"))
    child = Book.begin(store, "sub", parent_id=book.id, parent_position="sub#1")

    [call] = client.executions.get(book.id).checkpoints

    assert (call.checkpoint_type, call.child_exec_id) == ("flow", child.id)
    assert call.status is ExecutionStatus.RUNNING
    assert call.artifacts == ()
    assert client.executions.get(child.id).parent_exec_id == book.id


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (None, "running"),
        (Status.FAILED, "failed"),
        (Status.CANCELLED, "cancelled"),
        (Status.PENDING, "pending"),
    ],
)
def test_running_call_is_only_running_while_its_execution_is(
    store: Store, client: KitaruClient, outcome: Status | None, shown: str
):
    book = Book.begin(store)
    book.call("fetch", seconds=None)
    if outcome is Status.PENDING:
        book.write(outcome=None)
        store.reap(now=START, dead_owners=["someone"])
    elif outcome is not None:
        book.end(outcome)

    [call] = client.executions.get(book.id).checkpoints

    assert call.status.value == shown


def test_metadata_of_calls_stays_with_the_calls(store: Store, client: KitaruClient):
    book = Book.begin(store)
    book.call("fetch", metadata={"bytes": "12"})

    found = client.executions.get(book.id)

    assert (found.metadata, found.checkpoints[0].metadata) == ({}, {"bytes": 12})


def test_list_is_newest_first_and_in_summaries(store: Store, client: KitaruClient):
    books = [Book.begin(store, at=number) for number in range(3)]
    books[0].call("fetch")

    found = client.executions.list()

    assert [execution.exec_id for execution in found] == [book.id for book in reversed(books)]
    assert found[2].checkpoints == ()
    assert [call.call_id for call in found[2].refresh().checkpoints] == ["fetch"]
    assert [call.call_id for call in found[2].list_checkpoints()] == ["fetch"]


def test_list_filters(store: Store, client: KitaruClient):
    done = Book.begin(store, "report", tags=("a",), stack="gpu")
    done.write(metadata=(MetadataRecord(position="", key="team", value='"x"'),))
    done.end(Status.COMPLETED)
    Book.begin(store)

    def ids(**filters: object) -> list[str]:
        return [found.exec_id for found in client.executions.list(**filters)]  # pyright: ignore[reportArgumentType] - several kinds of filters

    assert ids(flow="report") == [done.id]
    assert ids(status="completed") == [done.id]
    assert ids(status=ExecutionStatus.COMPLETED) == [done.id]
    assert ids(stack="gpu") == [done.id]
    assert ids(tag="a") == [done.id]
    assert ids(metadata={"team": "x"}) == [done.id]
    assert ids(flow="other") == []
    assert client.executions.count(flow="report") == 1


@pytest.mark.parametrize(
    ("bounds", "numbers"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"limit": 2}, [4, 3]),
        ({"size": 2}, [4, 3]),
        ({"page": 2, "size": 2}, [2, 1]),
        ({"page": 3, "size": 2}, [0]),
        ({"page": 4, "size": 2}, []),
    ],
)
def test_list_pages(store: Store, client: KitaruClient, bounds: dict[str, int], numbers: list[int]):
    ids = [Book.begin(store, at=number).id for number in range(5)]

    found = client.executions.list(**bounds)  # pyright: ignore[reportArgumentType] - bounds only

    assert [execution.exec_id for execution in found] == [ids[number] for number in numbers]


def test_list_goes_on_after_an_execution(store: Store, client: KitaruClient):
    ids = [Book.begin(store, at=number).id for number in range(4)]

    found = client.executions.list(after=ids[2], limit=1)

    assert [execution.exec_id for execution in found] == [ids[1]]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"limit": 0}, "expected `limit` to be 1 or more, got: 0"),
        ({"page": 0, "size": 1}, "expected `page` to be 1 or more, got: 0"),
        ({"limit": 1, "size": 1}, "`limit` cannot be combined with `page` or `size`."),
        ({"page": 1}, "`page` needs `size`."),
        (
            {"status": "done"},
            "expected `status` to be one of pending, running, waiting, completed, failed, cancelled,"
            " got: 'done'",
        ),
    ],
)
def test_list_refuses_bounds_that_mean_nothing(
    client: KitaruClient, bounds: dict[str, int], message: str
):
    with pytest.raises(KitaruUsageError) as caught:
        client.executions.list(**bounds)  # pyright: ignore[reportArgumentType] - on purpose

    assert str(caught.value) == message


def test_latest_is_the_newest(store: Store, client: KitaruClient):
    Book.begin(store, at=0)
    newest = Book.begin(store, at=1)

    assert client.executions.latest().exec_id == newest.id


def test_latest_of_nothing_says_what_was_looked_for(client: KitaruClient):
    with pytest.raises(KitaruNotFoundError) as caught:
        client.executions.latest(flow="x", status="failed")

    assert str(caught.value) == "no execution with flow 'x' and status 'failed'."


def test_projects_do_not_see_each_other(store: Store, client: KitaruClient):
    Book.begin(store, project="other")

    assert client.executions.list() == []
    assert len(KitaruClient(project="other").executions.list()) == 1


def test_result_of_an_unfinished_execution_is_refused(store: Store, client: KitaruClient):
    book = Book.begin(store)

    with pytest.raises(KitaruStateError, match="has no result: it is running"):
        client.executions.get(book.id).result()


def test_cancel_stops_what_is_not_running_at_once(store: Store, client: KitaruClient):
    book = Book.begin(store, claim=None)

    cancelled = client.executions.get(book.id).cancel()

    assert cancelled.status is ExecutionStatus.CANCELLED
    assert cancelled.cancel_requested_at is not None


def test_delete_removes_finished_executions_only(store: Store, client: KitaruClient):
    running, done = Book.begin(store), Book.begin(store)
    done.end(Status.COMPLETED)

    client.executions.delete(done.id)
    with pytest.raises(KitaruStateError):
        client.executions.delete(running.id)

    assert [execution.exec_id for execution in client.executions.list()] == [running.id]


def test_logs_come_in_order_with_their_calls(store: Store, client: KitaruClient):
    book = Book.begin(store)
    book.call("fetch", call_id="fetch-it")
    book.log("from the body")
    book.log("from the call", position="fetch#1", logged_at=START + 2 * SECOND)

    entries = client.executions.logs(book.id)

    assert [(entry.checkpoint_name, entry.message) for entry in entries] == [
        (None, "from the body"),
        ("fetch-it", "from the call"),
    ]
    assert entries[1].timestamp == datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert (entries[0].attempt, entries[1].attempt) == (None, 1)


@pytest.mark.parametrize(
    ("filters", "messages"),
    [
        ({"source": "step"}, ["one", "two", "three"]),
        ({"source": "runner"}, ["body"]),
        ({"checkpoint": "fetch-2"}, ["two"]),
        ({"checkpoint": "get"}, ["one", "two"]),
        ({"checkpoint": "nope"}, []),
        ({"limit": 2}, ["body", "one"]),
        ({"source": "step", "limit": 2}, ["one", "two"]),
    ],
)
def test_logs_filter(
    store: Store, client: KitaruClient, filters: dict[str, str], messages: list[str]
):
    book = Book.begin(store)
    book.call("get", call_id="fetch", position="get#1")
    book.call("get", call_id="fetch-2", position="get#2")
    book.call("parse")
    book.log("body")
    book.log("one", position="get#1")
    book.log("two", position="get#2")
    book.log("three", position="parse#1")

    entries = client.executions.logs(book.id, **filters)  # pyright: ignore[reportCallIssue, reportArgumentType] - filters only

    assert [entry.message for entry in entries] == messages


def test_logs_refuse_what_contradicts_itself(store: Store, client: KitaruClient):
    book = Book.begin(store)

    with pytest.raises(KitaruUsageError, match="cannot be combined"):
        client.executions.logs(book.id, checkpoint="a", source="runner")
    with pytest.raises(KitaruUsageError, match="'step' or 'runner'"):
        client.executions.logs(book.id, source="both")  # pyright: ignore[reportArgumentType] - on purpose
    with pytest.raises(KitaruUsageError, match="`limit`"):
        client.executions.logs(book.id, limit=0)


def test_following_logs_ends_with_the_execution(store: Store, client: KitaruClient):
    book = Book.begin(store)
    book.log("first")

    lines = client.executions.logs(book.id, follow=True)
    first = next(lines)
    book.log("second")
    book.end(Status.COMPLETED)

    assert [entry.message for entry in (first, *lines)] == ["first", "second"]


def test_models_cannot_be_changed(store: Store, client: KitaruClient):
    execution: Execution = client.executions.get(Book.begin(store).id)

    with pytest.raises(AttributeError):
        execution.status = ExecutionStatus.FAILED  # pyright: ignore[reportAttributeAccessIssue] - on purpose


def test_a_token_without_a_server_is_refused(config_dir: object):
    with pytest.raises(KitaruUsageError, match="Give `server_url` as well"):
        KitaruClient(auth_token="geheim")


def test_client_is_a_context_manager(store: Store):
    with KitaruClient() as client:
        assert client.executions.list() == []
    assert client.executions.list() == []


def test_executions_that_were_given_back_count_as_interrupted(store: Store, client: KitaruClient):
    book = Book.begin(store, id="0197-stopped")
    book.write(outcome=Outcome(status=Status.PENDING, reason="released", runnable_at=START))
    Book.begin(store, id="0198-never-started", claim=None)

    found = client.upkeep.find_interrupted()

    assert [(one.exec_id, one.flow_name, one.reason) for one in found] == [
        ("0197-stopped", "audit", "it was stopped before its end"),
        ("0198-never-started", "audit", "nobody has taken it up"),
    ]


def test_what_a_worker_will_take_up_is_not_interrupted_but_what_is_held_is(
    store: Store, client: KitaruClient
):
    book = Book.begin(store, id="0197-released")
    book.write(outcome=Outcome(status=Status.PENDING, reason="released", runnable_at=START))
    held = Book.begin(store, id="0198-held")
    held.write(outcome=Outcome(status=Status.PENDING, runnable_at=START, held_at=START))
    record = store.get_execution("0197-released")
    now = SYSTEM_CLOCK.now()
    store.announce_worker(
        WorkerRecord(
            owner="far/1/1.0/x",
            project=record.project,
            stack=record.stack,
            code_keys=(code_key(record.code_root, record.code_ref),),
            concurrency=2,
            running=2,
            started_at=now,
            seen_at=now,
        )
    )

    found = client.upkeep.find_interrupted()

    assert [(one.exec_id, one.reason) for one in found] == [("0198-held", "it was stopped by hand")]
    why = client.executions.why("0197-released")
    assert "Worker 1 takes it up when one of its 2 executions has ended." in why.text
    why = client.executions.why("0198-held")
    assert why.reason is WhyReason.HELD
    assert why.next_steps == ("kitaru executions recover 0198-held",)


def test_executions_that_lost_their_process_are_interrupted(store: Store, client: KitaruClient):
    Book.begin(store, id="0197-lost", claim=Claim(owner="a/1/1.0/x", lease_expires_at=START))
    Book.begin(store, id="0198-alive")

    [found] = client.upkeep.find_interrupted()

    assert found.exec_id == "0197-lost"
    assert "its process 1 has been silent" in found.reason
