from __future__ import annotations

import re
from pathlib import Path

import pytest

import kitaru.store
from kitaru.store.queries import compile_statement, load_statements, read_folder

PACKAGE = Path(kitaru.store.__file__).parent
SHARED = {name: text for name, text, _ in read_folder(PACKAGE / "sql")}
SQLITE = {name: text for name, text, _ in read_folder(PACKAGE / "sql" / "sqlite")}
POSTGRES = {name: text for name, text, _ in read_folder(PACKAGE / "sql" / "postgres")}
# One way to the server and back for what others do in several statements; and what locks rows.
ONLY_POSTGRES = {
    "commit_call",
    "commit_calls",
    "commit_end",
    "commit_ends",
    "lock_executions",
    "serialize",
}
LOCKING = re.compile(r"\bFOR (NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)\b")


def test_parameters_become_marks_in_their_declared_order() -> None:
    statement = compile_statement("x", "SELECT :a, :b", ("a", "b"), "?")

    assert statement.text == "SELECT ?, ?"
    assert statement.arrange is None


def test_parameters_used_out_of_order_or_twice_are_arranged() -> None:
    statement = compile_statement("x", "SELECT :b, :a, :b", ("a", "b"), "%s")

    assert statement.text == "SELECT %s, %s, %s"
    assert statement.arrange is not None
    assert statement.arrange(("A", "B")) == ("B", "A", "B")


def test_only_parameter_that_is_used_is_still_a_tuple() -> None:
    statement = compile_statement("x", "SELECT :b", ("a", "b"), "?")

    assert statement.arrange is not None
    assert statement.arrange(("A", "B")) == ("B",)


@pytest.mark.parametrize(
    "text", ["SELECT ':a'", 'SELECT ":a"', "SELECT x::text", "SELECT 'it''s :a'"]
)
def test_colons_in_quotes_and_casts_are_no_parameters(text: str) -> None:
    assert compile_statement("x", text, (), "?").text == text


def test_statement_for_several_rows_repeats_its_values() -> None:
    statement = compile_statement(
        "x", "INSERT INTO t VALUES (:a, :b) ON CONFLICT DO NOTHING", ("a", "b"), "?"
    )

    assert statement.for_rows(1) == statement.text
    assert statement.for_rows(3) == (
        "INSERT INTO t VALUES (?, ?), (?, ?), (?, ?) ON CONFLICT DO NOTHING"
    )


@pytest.mark.parametrize("text", ["UPDATE t SET a = :a", "INSERT INTO t VALUES (:a, 0)"])
def test_statement_that_is_not_values_alone_is_run_row_by_row(text: str) -> None:
    assert compile_statement("x", text, ("a",), "?").for_rows(2) is None


def test_statements_say_what_they_are_for() -> None:
    for file in PACKAGE.glob("sql/**/*.sql"):
        if "migrations" not in file.parts:
            headers = re.findall(r"^-- name: (.*)\n(.*)", file.read_text(), flags=re.MULTILINE)
            assert headers
            assert [name for name, purpose in headers if not purpose.startswith("-- ")] == []


def test_each_statement_is_used_in_one_place() -> None:
    # Operations that travel have the names of the contract's methods, as some statements do.
    files = [
        file for file in PACKAGE.glob("*.py") if not file.name.startswith(("http", "operations"))
    ]
    code = "\n".join(file.read_text() for file in files)
    known = {*load_statements("sqlite", "?"), *load_statements("postgres", "%s")}
    uses = {name: len(re.findall(rf'"{name}"', code)) for name in known}

    assert {name: count for name, count in uses.items() if count != 1} == {}


def test_no_statement_is_asked_for_that_does_not_exist() -> None:
    code = "\n".join(file.read_text() for file in PACKAGE.glob("*.py"))
    asked = set(re.findall(r'session\.(?:row|rows|run|run_many|statement)\(\s*"(\w+)"', code))

    assert asked
    assert asked <= set(load_statements("sqlite", "?")) | ONLY_POSTGRES
    assert asked <= set(load_statements("postgres", "%s"))


def test_every_dialect_has_the_same_statements_with_the_same_parameters() -> None:
    sqlite, postgres = load_statements("sqlite", "?"), load_statements("postgres", "%s")

    assert set(postgres) - set(sqlite) == ONLY_POSTGRES
    assert set(sqlite) <= set(postgres)
    assert {name: sqlite[name].parameters for name in sqlite} == {
        name: postgres[name].parameters for name in sqlite
    }


def test_postgres_own_statements_need_to_be_their_own() -> None:
    assert {
        name
        for name, text in POSTGRES.items()
        if not re.search(r"JSONB|COLLATE", text) and not LOCKING.search(text)
    } == {
        "serialize",
        "find_pending_ids",
        "list_pending_code",
    }  # which take a lock, or name no index


def test_shared_statements_are_free_of_what_only_sqlite_knows() -> None:
    sqlite_only = re.compile(
        r"json_each|json_extract|INDEXED BY|rowid|\bGLOB\b|OFFSET", re.IGNORECASE
    )

    assert [name for name, text in SHARED.items() if sqlite_only.search(text)] == []


def test_dialects_own_statements_need_to_be_their_own() -> None:
    # Whatever is here has to be written again for each database.
    assert [
        name
        for name, text in SQLITE.items()
        if not re.search(r"json_each|json_extract|INDEXED BY", text)
    ] == []


def test_no_statement_pages_by_offset() -> None:
    for text in [*SHARED.values(), *SQLITE.values(), *POSTGRES.values()]:
        assert "OFFSET" not in text.upper()
