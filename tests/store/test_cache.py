from __future__ import annotations

from typing import Any

from kitaru.model import CallRecord, CallStatus
from kitaru.store import Store
from tests.store.records import NOW, call, commit_one, entry, run

KEY = b"k" * 32


def recorded(store: Store, *, project: str = "default", **fields: Any) -> tuple[str, CallRecord]:
    execution = run(store, project=project)
    row = call(cache_key=KEY, **fields)
    commit_one(store, entry(execution, row))
    return execution.id, row


def test_newest_completed_call_with_the_key_is_found(store: Store) -> None:
    recorded(store, ended_at=NOW + 1)
    newest = recorded(store, ended_at=NOW + 3)
    recorded(store, ended_at=NOW + 2)

    assert store.find_cached_call("default", KEY, since=None) == newest


def test_only_results_since_a_moment_are_reused(store: Store) -> None:
    found = recorded(store, ended_at=NOW)

    assert store.find_cached_call("default", KEY, since=NOW) == found
    assert store.find_cached_call("default", KEY, since=NOW + 1) is None


def test_results_of_other_projects_are_not_reused(store: Store) -> None:
    mine = recorded(store, ended_at=NOW)
    recorded(store, project="other", ended_at=NOW + 5)

    assert store.find_cached_call("default", KEY, since=None) == mine
    assert store.find_cached_call("third", KEY, since=None) is None


def test_only_calls_that_ran_and_completed_are_reused(store: Store) -> None:
    for status in set(CallStatus) - {CallStatus.COMPLETED}:
        recorded(store, status=status)

    assert store.find_cached_call("default", KEY, since=None) is None
    assert store.find_cached_call("default", b"other", since=None) is None


def test_results_of_the_asking_execution_are_not_reused(store: Store) -> None:
    other = recorded(store, ended_at=NOW)
    own = recorded(store, ended_at=NOW + 1)

    assert store.find_cached_call("default", KEY, since=None, besides=own[0]) == other
