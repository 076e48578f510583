"""How SQLite finds rows: what a query costs must not depend on how much is stored."""

from __future__ import annotations

from typing import Any

import pytest

from kitaru.model import ExecutionFilter, ExecutionStatus
from kitaru.store.listing import count_statement, list_statement
from kitaru.store.queries import load_statements
from kitaru.store.sqlite import SQLiteStore
from kitaru.store.sqlite_schema import connect

STATEMENTS = load_statements("sqlite", "?")

# They look at every row by their nature; `verify` and `list_blob_digests` are the only ones to use them.
WHOLE_TABLES = {
    "find_duplicate_call_ids",
    "find_calls_from_the_future",
    "find_parent_cycles",
    "find_waits_of_the_finished",
    "find_waits_for_the_finished",
    "list_blob_digests",
}

# Sorted after they were found: few rows, or as many as are returned anyway.
SORTED = {
    "list_artifacts",
    "list_calls",
    "claim_by_id",
    "find_pending_by_id",
    "list_lease_owners",
    "list_pending_code",
    "list_running",
    "list_unfinished",
    "list_workers",
    "list_waits",
    "find_unfinished_in_tree",
    "find_unfinished_replay",
    "find_cached_call",
}

FRAGMENTS = {"execution_columns", "has_tag"}

# They go on after what `statistics.py` puts before them; `test_statistics.py` looks at the whole.
STATISTICS = {
    "count_attempts",
    "count_by_status",
    "count_calls",
    "count_questions",
    "measure_answers",
    "measure_calls",
    "measure_executions",
}


def plan(store: SQLiteStore, text: str, arguments: list[Any]) -> list[str]:
    connection = connect(store.path, writer=False)
    try:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", arguments).fetchall()
    finally:
        connection.close()
    return [row[3] for row in rows]


def full_scans(steps: list[str]) -> list[str]:
    # A scan of json_each, of a recursive query's queue or of constants costs what it was given.
    tables = ("execution", "call", "attempt", "artifact", "metadata", "log_line", "event", "wait")
    return [step for step in steps if step.startswith("SCAN") and step.split()[1] in tables]


@pytest.mark.parametrize("name", sorted(set(STATEMENTS) - WHOLE_TABLES - FRAGMENTS - STATISTICS))
def test_statement_finds_its_rows_through_an_index(sqlite_store: SQLiteStore, name: str) -> None:
    statement = STATEMENTS[name]

    steps = plan(sqlite_store, statement.text, [None] * statement.text.count("?"))

    assert full_scans(steps) == []
    if name not in SORTED:
        assert [step for step in steps if "TEMP B-TREE" in step] == []


@pytest.mark.parametrize(
    "name",
    [
        "claim_executions",
        "is_anything_claimable",
        "find_pending_ids",
        "is_anything_to_launch",
        "reserve_launches",
    ],
)
def test_what_may_be_claimed_is_found_in_its_order(sqlite_store: SQLiteStore, name: str) -> None:
    text = STATEMENTS[name].text

    steps = plan(sqlite_store, text, [None] * text.count("?"))

    found = [step for step in steps if "execution_pending" in step]
    assert [step.split(" USING ")[0] for step in found] == ["SEARCH execution"]
    assert "(runnable_at<?)" in found[0]


@pytest.mark.parametrize("before", [None, (1, "x")])
@pytest.mark.parametrize(
    ("where", "index"),
    [
        ({}, "execution_by_status (status=? AND project=?"),
        ({"status": ExecutionStatus.FAILED}, "execution_by_status (status=? AND project=?"),
        ({"flow": "f"}, "execution_by_flow (project=? AND flow=? AND status=?"),
        (
            {"flow": "f", "status": ExecutionStatus.FAILED},
            "execution_by_flow (project=? AND flow=? AND status=?",
        ),
        ({"stack": "ray"}, "execution_by_status (status=? AND project=?"),
        ({"tag": "x"}, "execution_by_status (status=? AND project=?"),
    ],
)
def test_page_is_read_in_order_from_an_index(
    sqlite_store: SQLiteStore, where: dict[str, Any], index: str, before: tuple[int, str] | None
) -> None:
    text, arguments = list_statement(
        STATEMENTS["execution_columns"].text,
        ExecutionFilter(project="p", **where),
        STATEMENTS["has_tag"].text,
        limit=50,
        before=before,
        merges=True,
    )

    steps = plan(sqlite_store, text, arguments)

    keyset = "" if before is None else " AND (created_at,id)<(?,?)"
    searches = [step for step in steps if step.startswith("SEARCH execution ")]
    assert set(searches) == {f"SEARCH execution USING INDEX {index}{keyset})"}
    assert len(searches) == (1 if "status" in where else len(ExecutionStatus))
    assert full_scans(steps) == []
    assert [step for step in steps if "TEMP B-TREE" in step] == []


def test_children_are_found_through_their_parent(sqlite_store: SQLiteStore) -> None:
    where = ExecutionFilter(project="p", parent_id="x")
    columns, has_tag = STATEMENTS["execution_columns"].text, STATEMENTS["has_tag"].text

    steps = plan(
        sqlite_store, *list_statement(columns, where, has_tag, limit=50, before=None, merges=True)
    )

    assert "SEARCH execution USING INDEX execution_by_parent (parent_id=?)" in steps


@pytest.mark.parametrize("where", [{}, {"status": ExecutionStatus.FAILED}, {"flow": "f"}])
@pytest.mark.parametrize("before", [None, (1, "x")])
def test_replays_are_found_through_their_origin_in_order(
    sqlite_store: SQLiteStore, where: dict[str, Any], before: tuple[int, str] | None
) -> None:
    fitting = ExecutionFilter(project="p", origin_id="x", **where)
    columns, has_tag = STATEMENTS["execution_columns"].text, STATEMENTS["has_tag"].text

    text, arguments = list_statement(
        columns, fitting, has_tag, limit=50, before=before, merges=True
    )
    counted = plan(sqlite_store, *count_statement(fitting, has_tag, 9))

    [listed] = plan(sqlite_store, text, arguments)
    assert listed.startswith("SEARCH execution USING INDEX execution_by_origin (origin_id=?")
    assert [step for step in counted if "execution_by_origin (origin_id=?" in step] != []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("is_anything_due", "wait USING INDEX wait_due (wake_at<?)"),
        ("end_due_waits", "due USING INDEX wait_due (wake_at<?)"),
        (
            "list_open_waits",
            "wait USING INDEX wait_question ((created_at,execution_id,position)>(?,?,?))",
        ),
        ("answer_child_waits", "wait USING INDEX wait_by_child (child_id=?)"),
        ("has_waits_to_end", "wait USING INDEX wait_by_child (child_id=?)"),
        ("find_unfinished_replay", "replay USING INDEX execution_by_origin (origin_id=?)"),
    ],
)
def test_open_waits_are_found_among_the_open_ones(
    sqlite_store: SQLiteStore, name: str, expected: str
) -> None:
    text = STATEMENTS[name].text

    steps = plan(sqlite_store, text, [None] * text.count("?"))

    assert f"SEARCH {expected}" in steps


@pytest.mark.parametrize("where", [{}, {"flow": "f"}, {"status": ExecutionStatus.FAILED}])
def test_counting_reads_an_index_only(sqlite_store: SQLiteStore, where: dict[str, Any]) -> None:
    steps = plan(
        sqlite_store,
        *count_statement(ExecutionFilter(project="p", **where), STATEMENTS["has_tag"].text, 9),
    )

    of_executions = [step for step in steps if "execution" in step]
    assert ["USING COVERING INDEX" in step for step in of_executions] == [True]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("next_flow", "COVERING INDEX execution_by_flow ((project,flow)>(?,?))"),
        (
            "list_finished",
            "INDEX execution_by_flow (project=? AND flow=? AND status=?"
            " AND (created_at,id)>(?,?) AND (created_at,id)<(?,?))",
        ),
        ("list_newest_roots", "INDEX execution_by_flow (project=? AND flow=? AND status=?)"),
        ("find_oldest_start", "INDEX execution_by_status (status=?)"),
    ],
)
def test_what_may_be_pruned_is_found_in_order_from_an_index(
    sqlite_store: SQLiteStore, name: str, expected: str
) -> None:
    text = STATEMENTS[name].text

    steps = plan(sqlite_store, text, [None] * text.count("?"))

    assert steps == [f"SEARCH execution USING {expected}"]


def test_whether_rows_name_a_blob_is_looked_up_in_the_indexes_of_digests(
    sqlite_store: SQLiteStore,
) -> None:
    text = STATEMENTS["list_unnamed_blobs"].text

    steps = plan(sqlite_store, text, [None])

    assert [step for step in steps if step.startswith("SEARCH")] == [
        f"SEARCH {table} USING COVERING INDEX {table}_by_{column} ({column}=?)"
        for table, column in [
            ("execution", "inputs_digest"),
            ("execution", "result_digest"),
            ("call", "inputs_digest"),
            ("call", "output_digest"),
            ("artifact", "value_digest"),
        ]
    ]
