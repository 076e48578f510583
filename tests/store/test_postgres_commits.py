"""What usual runs write goes into one statement, and does what several would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from kitaru.errors import KitaruStateError
from kitaru.model import CallStatus, ExecutionStatus, StoredValue, WaitStatus
from kitaru.store.postgres import PostgresStore
from kitaru.store.postgres_prepared import PreparedStatements
from kitaru.store.queries import load_statements
from tests.store.records import (
    FAILURE,
    NOW,
    call,
    child_wait,
    claim,
    commit_one,
    completed,
    entry,
    event,
    failed,
    new_execution,
    parked,
    question,
    run,
)

LARGEST = 2**63 - 1


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    opened = PostgresStore(postgres_url)
    yield opened
    opened.close()


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as opened:
        yield opened


def test_calls_of_many_executions_are_one_commit_and_keep_every_byte(store: PostgresStore) -> None:
    first, second = run(store), run(store)
    data = StoredValue("kitaru/1", bytes(range(256)), None, 256)
    written = [
        call("a#1", inputs=data, output=data, fingerprint=b"\x00\xff", cache_key=b"\xfe\x00"),
        call("ä#1", type='with "quotes" and \\', upstreams=("a#1", "b,c")),
        call("a#2", status=CallStatus.FAILED, ended_at=LARGEST),
        call("a#3", status=CallStatus.RUNNING),
    ]
    owners = [first, second, first, second]

    found = store.commit([entry(o, c) for o, c in zip(owners, written, strict=True)])

    assert [committed.held for committed in found] == [True] * 4
    assert store.list_calls(first.id) == [written[0], written[2]]
    assert store.list_calls(second.id) == [written[1], written[3]]


def test_call_that_has_a_result_already_leaves_the_others_of_its_commit_written(
    store: PostgresStore,
) -> None:
    execution = run(store)
    commit_one(store, entry(execution, call("a#1")))

    with pytest.raises(KitaruStateError, match="has a result already"):
        store.commit(
            [
                entry(execution, call("a#1", fingerprint=b"other")),
                entry(execution, call("b#1")),
            ]
        )

    assert [row.position for row in store.list_calls(execution.id)] == ["a#1", "b#1"]


def test_ends_of_many_executions_are_one_commit_with_their_events(store: PostgresStore) -> None:
    one, other = run(store), run(store)

    found = store.commit(
        [
            entry(one, outcome=completed(), events=(event("first"), event("second"))),
            entry(other, outcome=failed()),
        ]
    )

    assert [committed.held for committed in found] == [True, True]
    assert [told.kind for _, told in store.list_events(one.id)] == ["first", "second"]
    ended, failing = store.get_execution(one.id), store.get_execution(other.id)
    assert (ended.status, ended.ended_at, ended.lease_owner) == (
        ExecutionStatus.COMPLETED, completed().ended_at, None,
    )  # fmt: skip
    assert (failing.status, failing.failure) == (ExecutionStatus.FAILED, FAILURE)


def test_calls_ends_and_creations_are_committed_together(store: PostgresStore) -> None:
    going, ending = run(store), run(store)
    new = new_execution(claim=claim())

    found = store.commit(
        [
            new,
            entry(going, call()),
            entry(ending, call("b#1")),
            entry(ending, outcome=completed()),
            entry(ending, call("late#1")),
        ]
    )

    assert [committed.held for committed in found] == [True, True, True, True, False]
    assert found[0].created
    assert found[0].execution == store.get_execution(new.id)
    assert [row.position for row in store.list_calls(ending.id)] == ["b#1"]


def test_end_closes_the_questions_that_are_open(store: PostgresStore) -> None:
    execution = run(store)
    commit_one(store, entry(execution, waits=(question(execution),)))

    commit_one(store, entry(execution, outcome=completed()))

    assert [wait.status for wait in store.list_waits(execution.id)] == [WaitStatus.CLOSED]


def test_end_wakes_whoever_waits_for_an_execution_that_is_nobodys_child(
    store: PostgresStore,
) -> None:
    waiting, awaited = run(store), run(store)
    wait = child_wait(waiting, awaited.id)
    commit_one(store, entry(waiting, waits=(wait,), outcome=parked(wait.position)))

    store.commit([entry(awaited, outcome=completed()), entry(run(store), outcome=completed())])

    assert store.get_execution(waiting.id).status is ExecutionStatus.PENDING


def test_end_of_a_claim_that_was_lost_tells_nothing(store: PostgresStore) -> None:
    execution = run(store)
    store.reap(now=LARGEST, dead_owners=())
    told = event("told")

    committed = commit_one(store, entry(execution, outcome=completed(), events=(told,)))

    assert not committed.held
    assert store.list_events(execution.id) == []
    assert store.get_execution(execution.id).status is ExecutionStatus.PENDING


def test_cursors_of_events_follow_commits_when_ends_and_tellers_meet(store: PostgresStore) -> None:
    executions = [run(store) for _ in range(8)]

    def tell() -> None:
        for execution in executions:
            store.append_events([(execution.id, event("before"))])

    with ThreadPoolExecutor(2) as pool:
        telling = pool.submit(tell)
        for execution in executions:
            commit_one(store, entry(execution, outcome=completed(), events=(event("end"),)))
        telling.result()

    for execution in executions:
        cursors = [cursor for cursor, _ in store.list_events(execution.id)]
        assert len(cursors) == 2
        assert cursors == sorted(cursors)


def test_statement_is_prepared_at_its_third_use_and_answers_as_before(
    connection: psycopg.Connection[Any],
) -> None:
    prepared = PreparedStatements(connection)
    text = "SELECT CAST(%s AS BIGINT), CAST(%s AS TEXT), CAST(%s AS BYTEA)"
    arguments = (NOW, "ä", b"\x00\xff")

    found = [prepared.run(text, arguments) for _ in range(4)]

    assert found[:2] == [None, None]
    assert [answer and answer.rows for answer in found[2:]] == [[arguments]] * 2
    assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (1,)


def test_large_number_beside_a_small_column_is_compared_as_it_is(
    connection: psycopg.Connection[Any],
) -> None:
    prepared = PreparedStatements(connection)
    text = "SELECT number FROM (VALUES (1), (2)) AS given (number) WHERE number < %s"

    found = [prepared.run(text, (LARGEST,)) for _ in range(3)][-1]

    assert found is not None
    assert found.rows == [(1,), (2,)]


def test_prepared_statement_that_fails_leaves_its_connection_usable(
    connection: psycopg.Connection[Any],
) -> None:
    prepared = PreparedStatements(connection)
    text = "SELECT 1 / CAST(%s AS BIGINT)"
    for _ in range(2):
        prepared.run(text, (1,))

    with pytest.raises(psycopg.errors.DivisionByZero):
        prepared.run(text, (0,))
    with pytest.raises(OverflowError):
        prepared.run(text, (LARGEST + 1,))
    answer = prepared.run(text, (1,))

    assert answer is not None
    assert answer.rows == [(1,)]


@pytest.mark.parametrize(
    "name", ["check_fence", "commit_call", "commit_calls", "commit_end", "commit_ends"]
)
def test_fence_finds_its_row_by_id_even_before_anybody_has_counted_the_rows(
    store: PostgresStore, connection: psycopg.Connection[Any], name: str
) -> None:
    executions = [run(store) for _ in range(50)]
    commit_one(store, entry(executions[0], call()))
    text = load_statements("postgres", "%s")[name].text
    count = text.count("%s")
    for number in range(1, count + 1):
        text = text.replace("%s", f"${number}", 1)
    # As soon as the table has some pages, reading all of them is never the quickest way.
    for setting in ("plan_cache_mode = force_generic_plan", "enable_seqscan = off"):
        connection.execute(f"SET {setting}".encode())
    connection.execute(f"PREPARE asked AS {text}".encode())

    nothing = ", ".join(["NULL"] * count)
    found = connection.execute(f"EXPLAIN EXECUTE asked ({nothing})".encode()).fetchall()

    used = re.findall(r"(?:using|Bitmap Index Scan on) (execution_\w+)", str(found))
    assert used
    assert set(used) == {"execution_pkey"}
    assert "Seq Scan on execution" not in str(found)
