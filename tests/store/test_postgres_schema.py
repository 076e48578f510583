"""What the database itself refuses, and what becomes of a copy that was made with its own means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from kitaru.store.postgres import PostgresStore
from tests.postgres import PostgresServer
from tests.store.records import call, commit_one, create, entry, run


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Return a connection to a database with an execution that runs, one that is pending, and a call."""
    store = PostgresStore(postgres_url)
    commit_one(store, entry(run(store), call()))
    create(store)
    store.close()
    with psycopg.connect(postgres_url, autocommit=True) as opened:
        yield opened


@pytest.mark.parametrize(
    "change",
    [
        "execution SET status = 'asleep'",
        "execution SET epoch = -1",
        "execution SET recoveries = -1",
        "execution SET retries_left = -1",
        "execution SET lease_owner = NULL WHERE status = 'running'",
        "execution SET lease_expires_at = NULL WHERE status = 'running'",
        "execution SET lease_owner = 'me', lease_expires_at = 1 WHERE status = 'pending'",
        "execution SET epoch = 0 WHERE status = 'running'",
        "execution SET ended_at = 1",
        "execution SET failure = '{}'",
        "execution SET result_codec = 'kitaru/1'",
        "execution SET parent_position = 'child#1'",
        "execution SET cancel_requested_by = 'me'",
        "execution SET inputs_digest = 'here, too'",
        "execution SET inputs_data = NULL",
        "call SET kind = 'thing'",
        "call SET status = 'done'",
        "call SET ordered = 2",
        "call SET ended_at = NULL",
        "call SET status = 'running'",
        "call SET failure = '{}'",
        "call SET output_codec = NULL, output_size = NULL, output_data = NULL",
        "call SET output_digest = 'here, too'",
        "call SET output_size = NULL",
        "call SET inputs_size = 1",
    ],
)
def test_row_that_contradicts_itself_is_refused(
    connection: psycopg.Connection[Any], change: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as raised:
        connection.execute(f"UPDATE {change}".encode())

    assert raised.value.diag.constraint_name == "is_whole"


def test_tags_that_are_no_json_are_refused(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        connection.execute("UPDATE execution SET tags = 'a, b'")


@pytest.mark.slow
def test_dump_that_is_restored_elsewhere_is_the_same_store() -> None:
    server = PostgresServer()
    server.start()
    try:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            for name in ("here", "there"):
                connection.execute(f"CREATE DATABASE {name}".encode())
        here, there = PostgresStore(server.url("here")), PostgresStore(server.url("there"))
        here.migrate()
        execution = run(here)
        commit_one(here, entry(execution, call()))

        dump = str(server.folder / "data" / "kitaru.dump")
        server.run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={server.url('here')}")
        server.run("pg_restore", f"--dbname={server.url('there')}", dump)

        assert there.verify() == []
        assert there.get_execution(execution.id) == here.get_execution(execution.id)
        assert there.list_calls(execution.id) == here.list_calls(execution.id)
        commit_one(there, entry(execution, call("step#2")))
        here.close()
        there.close()
    finally:
        server.remove()
