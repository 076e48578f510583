"""Requests that are lost, come twice or come late: each is done once, and its answer is the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kitaru.errors import KitaruBackendError, KitaruStateError
from kitaru.model import Claim, EventRecord, ExecutionStatus, LogLine, LogSource
from kitaru.store.http import HttpStore
from kitaru.store.operations import OPERATIONS, wrap_writes
from kitaru.store.sqlite import SQLiteStore
from tests.relay import Relay
from tests.server.serving import DEADLINE_SECONDS, RunningServer, wait_until
from tests.server.test_doors import KEYED, ask
from tests.store.records import (
    NOW,
    call,
    completed,
    create,
    entry,
    metadata,
    new_execution,
    run,
)

CLAIM = Claim(owner="me", lease_expires_at=NOW + 1_000_000)


@pytest.fixture
def store(relay: Relay) -> Iterator[HttpStore]:
    opened = HttpStore(relay.url, records_seconds=DEADLINE_SECONDS, others_seconds=5.0)
    yield opened
    opened.close()


def test_record_whose_answer_is_lost_is_committed_once(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    execution = run(behind)
    told = EventRecord(kind="told", position="", payload="{}", created_at=NOW)
    relay.lose_answers(2)

    [committed] = store.commit([entry(execution, call(), events=(told,))])

    assert committed.held
    assert relay.lost_answers == 2
    assert behind.list_calls(execution.id) == [call()]
    assert [event for _, event in behind.list_events(execution.id)] == [told]


def test_outcome_whose_answer_is_lost_is_still_held(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    execution = run(behind)
    relay.lose_answers(1)

    [committed] = store.commit([entry(execution, outcome=completed())])

    assert committed.held
    assert behind.get_execution(execution.id).status is ExecutionStatus.COMPLETED


def test_creation_whose_answer_is_lost_is_the_callers_own(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    new = new_execution(claim=CLAIM)
    relay.lose_answers(1)

    [committed] = store.commit([new])

    assert committed.created
    assert committed.execution == behind.get_execution(new.id)


def test_claim_whose_answer_is_lost_is_not_given_to_anyone_else(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    first = create(behind)
    second = create(behind, created_at=NOW + 1)
    relay.lose_answers(1)

    claimed = store.claim_executions(CLAIM, now=NOW + 1, limit=1)

    assert [execution.id for execution in claimed] == [first.id]
    assert claimed[0].epoch == 1
    assert behind.get_execution(second.id).status is ExecutionStatus.PENDING


def test_cancel_whose_answer_is_lost_does_not_say_that_it_is_over_already(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    execution = create(behind)
    relay.lose_answers(1)

    cancelled = store.request_cancel(execution.id, by="me", now=NOW)

    assert cancelled.status is ExecutionStatus.CANCELLED
    with pytest.raises(KitaruStateError):
        store.request_cancel(execution.id, by="me", now=NOW)


def test_lines_whose_answer_is_lost_are_there_once(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    execution = create(behind)
    line = LogLine(
        exec_id=execution.id, position="", attempt=1, source=LogSource.STDOUT, level=None,
        logger=None, message="hello", module=None, filename=None, lineno=None, logged_at=NOW,
    )  # fmt: skip
    relay.lose_answers(1)

    store.append_logs([line])

    assert [found for _, found in behind.list_logs(execution.id)] == [line]


def test_request_that_does_not_arrive_is_sent_again(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    execution = run(behind)
    relay.lose_requests(3)

    [committed] = store.commit([entry(execution, call())])

    assert committed.held
    assert behind.list_calls(execution.id) == [call()]


def test_record_that_comes_late_is_refused_by_the_fence(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    execution = run(behind)
    relay.cut()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(store.commit, [entry(execution, call())])
        # Meanwhile the runner is given up, and another has the execution.
        behind.reap(now=NOW, dead_owners=[execution.lease_owner or ""])
        behind.claim_executions(CLAIM, now=NOW, limit=1)
        relay.restore()
        [committed] = writing.result(DEADLINE_SECONDS)

    assert not committed.held
    assert behind.list_calls(execution.id) == []


def test_request_that_comes_again_late_does_not_undo_what_came_after_it(
    server: RunningServer, behind: SQLiteStore
) -> None:
    """It may have been held up in another server, or on the way."""
    execution = run(behind)
    values = ("old", "new", "old")
    keys = ("key-1", "key-2", "key-1")

    answers = [
        ask(
            server,
            "POST",
            "/store/commit",
            OPERATIONS["commit"].encode_request(
                {"writes": wrap_writes([entry(execution, metadata=(metadata(value=value),))])}
            ),
            **{**KEYED, "Idempotency-Key": key},
        )
        for value, key in zip(values, keys, strict=True)
    ]

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[2].body == answers[0].body
    assert behind.list_metadata(execution.id) == [metadata(value="new")]


def test_writers_ride_out_a_cut_and_lose_nothing(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    execution = run(behind)
    written = threading.Barrier(5)

    def write(thread: int) -> None:
        for number in range(20):
            if number == 10:
                written.wait(DEADLINE_SECONDS)
            record = call(position=f"{thread}#{number}", call_id=f"{thread}-{number}")
            [committed] = store.commit([entry(execution, record)])
            assert committed.held

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, thread) for thread in range(4)]
        written.wait(DEADLINE_SECONDS)
        relay.cut()
        relay.restore()
        relay.lose_answers(5)
        for one in writing:
            one.result(DEADLINE_SECONDS)

    found = sorted(record.position for record in behind.list_calls(execution.id))
    assert found == sorted(f"{thread}#{number}" for thread in range(4) for number in range(20))


def test_renewal_is_tried_once_and_works_again_after_the_cut(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    execution = run(behind)
    owner, leases = execution.lease_owner or "", [(execution.id, execution.epoch)]
    relay.cut()

    with pytest.raises(KitaruBackendError, match="asked once"):
        store.renew_leases(owner, leases, lease_expires_at=NOW + 9)
    relay.restore()

    [held] = store.renew_leases(owner, leases, lease_expires_at=NOW + 9)
    assert held.epoch == execution.epoch


def test_server_that_stays_away_is_named_with_the_way_out(relay: Relay) -> None:
    impatient = HttpStore(relay.url, others_seconds=0.2)
    relay.cut()

    with pytest.raises(KitaruBackendError) as raised:
        impatient.list_workers()

    assert relay.url in str(raised.value)
    assert "'list_workers'" in str(raised.value)
    assert "nobody listens there" in str(raised.value)
    assert "kitaru executions recover" in str(raised.value)
    impatient.close()


def test_calls_outlive_a_restart_of_the_server(server: RunningServer, behind: SQLiteStore) -> None:
    store = HttpStore(server.url, records_seconds=DEADLINE_SECONDS, others_seconds=10.0)
    execution = run(behind)
    begun = threading.Event()

    def write() -> None:
        for number in range(60):
            record = call(position=f"c#{number}", call_id=f"c-{number}")
            [committed] = store.commit([entry(execution, record)])
            assert committed.held
            begun.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert begun.wait(DEADLINE_SECONDS)
        for _ in range(3):
            server.stop()
            server.start()
        writing.result(DEADLINE_SECONDS)
    store.close()

    assert len(behind.list_calls(execution.id)) == 60


def test_silence_of_the_network_ends_with_the_try(
    store: HttpStore, behind: SQLiteStore, relay: Relay
) -> None:
    execution = run(behind)
    relay.hush()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(store.get_execution, execution.id)
        wait_until(lambda: relay.asked > 0)
        assert not reading.done()
        relay.restore()

        assert reading.result(DEADLINE_SECONDS) == behind.get_execution(execution.id)
