from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import seeding_postgres
from benchmarks.seeding import FLOWS, PROJECT, seed
from kitaru.model import ExecutionFilter, ExecutionStatus
from kitaru.settings_rules import sqlite_url
from kitaru.store import Store, open_store
from kitaru.store.postgres import PostgresStore


@pytest.mark.slow
def test_seeded_store_is_sound_and_has_as_many_executions_as_it_says(tmp_path: Path) -> None:
    seed(tmp_path, 300)

    store = open_store(sqlite_url(tmp_path / "kitaru.db"))
    check_seeded(store)
    store.close()


@pytest.mark.slow
def test_seeded_database_is_sound_and_has_as_many_executions_as_it_says(
    tmp_path: Path, postgres_url: str
) -> None:
    seeding_postgres.seed(postgres_url, 300, tmp_path)

    store = PostgresStore(postgres_url)
    check_seeded(store)
    store.close()


def check_seeded(store: Store) -> None:
    found = store.list_executions(ExecutionFilter(project=PROJECT), limit=1_000)
    assert store.verify() == []
    assert len(found) == 300
    assert {execution.flow for execution in found} == set(FLOWS)
    assert {execution.status for execution in found} == {
        ExecutionStatus.COMPLETED,
        ExecutionStatus.FAILED,
        ExecutionStatus.CANCELLED,
        ExecutionStatus.WAITING,
    }
    completed = next(e for e in found if e.status is ExecutionStatus.COMPLETED)
    assert [call.name for call in store.list_calls(completed.id)] == [
        "classify",
        "look_up",
        "reply",
    ]
    assert len({execution.created_at for execution in found}) == 300
