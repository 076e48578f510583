"""How Postgres finds rows: what a query costs must not depend on how much is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from kitaru.model import ExecutionFilter, ExecutionStatus
from kitaru.store.listing import count_statement, list_statement
from kitaru.store.queries import load_statements
from tests.postgres import Databases

STATEMENTS = load_statements("postgres", "%s")
TABLES = {"execution", "call", "attempt", "artifact", "metadata", "log_line", "event", "wait"}

# Enough that reading a whole table is never the quickest way.
SEED = """
INSERT INTO execution (
    id, project, flow, status, epoch, lease_owner, lease_expires_at, recoveries, max_recoveries, retries_left,
    runnable_at, created_at, started_at, ended_at, code_ref, code_root, code_hash, stack, tags, spec,
    inputs_codec, inputs_size, inputs_data, result_codec, result_size, result_data
)
SELECT
    'x' || n, 'p' || n % 3, 'f' || n % 20, status, 1,
    CASE WHEN status = 'running' THEN 'me' END, CASE WHEN status = 'running' THEN 1 END, 0, 10, 0,
    n, n, 1, CASE WHEN status = 'completed' THEN n END, 'm:f', '/src', 'c0de', 'local', '[]', '{}',
    'k', 1, 'x', CASE WHEN status = 'completed' THEN 'k' END, CASE WHEN status = 'completed' THEN 1 END,
    CASE WHEN status = 'completed' THEN CAST('x' AS BYTEA) END
FROM (
    SELECT
        n,
        CASE
            WHEN n % 200 = 0 THEN 'pending' WHEN n % 200 = 1 THEN 'running' WHEN n % 20 = 2 THEN 'waiting'
            ELSE 'completed'
        END AS status
    FROM generate_series(1, 20000) AS n
) AS made;
INSERT INTO call (
    execution_id, position, call_id, name, kind, fingerprint, ordered, status, upstreams, epoch, started_at,
    ended_at, output_codec, output_size, output_data
)
SELECT 'x' || n, 'c#' || k, 'c-' || k, 'c', 'checkpoint', 'f', 1, 'completed', '[]', 1, 1, 1, 'k', 1, 'x'
FROM generate_series(1, 20000) AS n, generate_series(1, 3) AS k;
INSERT INTO wait (
    execution_id, position, wait_id, name, kind, status, metadata, wake_at, child_id, asked_by, created_at,
    resolved_at
)
SELECT
    'x' || n, 'w#1', 'w', 'w', CASE WHEN n % 40 = 2 THEN 'child' ELSE 'input' END,
    CASE WHEN n % 20 = 2 THEN 'open' ELSE 'closed' END, '{}', n,
    CASE WHEN n % 40 = 2 THEN 'x' || n + 1 END, 'me', n, CASE WHEN n % 20 = 2 THEN NULL ELSE 1 END
FROM generate_series(1, 20000) AS n;
INSERT INTO event (execution_id, kind, position, payload, created_at)
SELECT 'x' || n, 'k', '', '{}', 1 FROM generate_series(1, 20000) AS n;
INSERT INTO log_line (execution_id, position, attempt, source, message, logged_at)
SELECT 'x' || n, '', 0, 'stdout', 'hello', 1 FROM generate_series(1, 20000) AS n;
INSERT INTO metadata (execution_id, position, key, value)
SELECT 'x' || n, '', 'k', '1' FROM generate_series(1, 20000) AS n;
INSERT INTO attempt (execution_id, position, number, status, started_at, ended_at, failure)
SELECT 'x' || n, 'c#1', 1, 'failed', 1, 1, '{}' FROM generate_series(1, 20000) AS n;
INSERT INTO artifact (
    execution_id, id, position, attempt, name, kind, tags, attempt_failed, created_at, value_codec,
    value_size, value_data
)
SELECT 'x' || n, 'a', '', 0, 'a', 'output', '[]', 0, 1, 'k', 1, 'x' FROM generate_series(1, 20000) AS n;
ANALYZE;
"""

# They look at every row by their nature; `verify` and `list_blob_digests` are the only ones to use them.
WHOLE_TABLES = {
    "find_duplicate_call_ids",
    "find_calls_from_the_future",
    "find_parent_cycles",
    "find_waits_of_the_finished",
    "find_waits_for_the_finished",
    "find_waiting_for_nothing",
    "list_blob_digests",
}
# What is unfinished, or runs, is a part that does not grow with what is stored; all of it is asked for.
PARTS = {
    "list_unfinished",
    "find_oldest_start",
    "list_running",
    "list_lease_owners",
    "count_standing",
}
FRAGMENTS = {"execution_columns", "has_tag"}
# They go on after what `statistics.py` puts before them.
STATISTICS = {
    "count_attempts", "count_by_status", "count_calls", "count_questions", "measure_answers", "measure_calls",
    "measure_executions",
}  # fmt: skip


@pytest.fixture(scope="module")
def connection(databases: Databases) -> Iterator[psycopg.Connection[Any]]:
    with databases.empty() as url, psycopg.connect(url, autocommit=True) as opened:
        opened.execute(SEED.encode())
        # As it is planned for a process that asks the same thing again and again, with whatever arguments.
        opened.execute("SET plan_cache_mode = force_generic_plan")
        yield opened


def plan(connection: psycopg.Connection[Any], text: str) -> list[dict[str, Any]]:
    """Return the nodes of a statement's plan, whatever its arguments."""
    count = text.count("%s")
    for number in range(1, count + 1):
        text = text.replace("%s", f"${number}", 1)
    with connection.transaction():
        connection.execute(f"PREPARE asked AS {text}".encode())
        arguments = f"({', '.join(['NULL'] * count)})" if count else ""
        [(found,)] = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE asked{arguments}".encode())
        connection.execute("DEALLOCATE asked")
    found = json.loads(found) if isinstance(found, str) else found
    return list(nodes(found[0]["Plan"]))


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from nodes(below)


def full_scans(found: list[dict[str, Any]]) -> list[str]:
    return [
        node["Relation Name"]
        for node in found
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in TABLES
    ]


@pytest.mark.parametrize(
    "name", sorted(set(STATEMENTS) - WHOLE_TABLES - FRAGMENTS - STATISTICS - PARTS)
)
def test_statement_finds_its_rows_through_an_index(
    connection: psycopg.Connection[Any], name: str
) -> None:
    assert full_scans(plan(connection, STATEMENTS[name].text)) == []


@pytest.mark.parametrize(
    "name", ["claim_executions", "is_anything_claimable", "find_pending_ids", "reserve_launches"]
)
def test_what_may_be_claimed_is_found_among_what_is_pending(
    connection: psycopg.Connection[Any], name: str
) -> None:
    found = plan(connection, STATEMENTS[name].text)

    assert "execution_pending" in {node.get("Index Name") for node in found}


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("is_anything_due", "wait_due"),
        ("find_due_waits", "wait_due"),
        ("list_open_waits", "wait_question"),
        ("answer_child_waits", "wait_by_child"),
        ("has_waits_to_end", "wait_by_child"),
        ("is_anything_reapable", "execution_running"),
    ],
)
def test_what_is_open_is_found_among_the_open(
    connection: psycopg.Connection[Any], name: str, index: str
) -> None:
    found = plan(connection, STATEMENTS[name].text)

    assert index in {node.get("Index Name") for node in found}


@pytest.mark.parametrize("before", [None, (1, "x")])
@pytest.mark.parametrize(
    "where",
    [
        {},
        {"status": ExecutionStatus.COMPLETED},
        {"flow": "f1"},
        {"flow": "f1", "status": ExecutionStatus.COMPLETED},
        {"parent_id": "x1"},
        {"origin_id": "x1"},
    ],
    ids=lambda where: "-".join(where) if isinstance(where, dict) else None,
)
def test_page_is_read_in_order_from_indexes(
    connection: psycopg.Connection[Any], where: dict[str, Any], before: tuple[int, str] | None
) -> None:
    text, _ = list_statement(
        STATEMENTS["execution_columns"].text,
        ExecutionFilter(project="p1", **where),
        STATEMENTS["has_tag"].text,
        limit=20,
        before=before,
        merges=False,
    )

    found = plan(connection, text.replace("?", "%s"))

    assert full_scans(found) == []
    # A sort below a page's limit would read everything that fits before it knew what comes first.
    if "parent_id" not in where:
        parts = 1 if "status" in where or "origin_id" in where else len(ExecutionStatus)
        limits = [node for node in found if node["Node Type"] == "Limit"]
        assert len(limits) == (1 if parts == 1 else parts + 1)
        sorted_parts = [
            below
            for limit in limits[-parts:]
            for below in limit["Plans"]
            if "Sort" in below["Node Type"]
        ]
        assert sorted_parts == []


def test_counting_stops_where_it_is_told_to(connection: psycopg.Connection[Any]) -> None:
    text, _ = count_statement(ExecutionFilter(project="p1"), STATEMENTS["has_tag"].text, 9)

    assert "Limit" in {node["Node Type"] for node in plan(connection, text.replace("?", "%s"))}
