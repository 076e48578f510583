from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.seeding import FLOWS, PROJECT, seed
from kitaru.model import ExecutionFilter, ExecutionStatus
from kitaru.settings_rules import sqlite_url
from kitaru.store import open_store


@pytest.mark.slow
def test_seeded_store_is_sound_and_has_as_many_executions_as_it_says(tmp_path: Path) -> None:
    seed(tmp_path, 300)

    store = open_store(sqlite_url(tmp_path / "kitaru.db"))
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
