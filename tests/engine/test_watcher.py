"""Executions that have left a process come back to it, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

import kitaru
from kitaru import flow
from kitaru.authoring.flow import Flow
from kitaru.clock import to_datetime
from kitaru.engine import watcher as watching
from kitaru.engine.run import Run
from kitaru.engine.watcher import Closed, Watcher
from kitaru.model import ExecutionStatus, Outcome, WaitRecord
from kitaru.store import Store, open_store
from kitaru.testing import FakeClock
from tests.engine.kit import answer
from tests.store.records import NOW, commit_one, create, entry, run, timer
from tests.stores import Place


@pytest.fixture
def store(own_place: Place) -> Iterator[Store]:
    opened = open_store(own_place.store_url)
    yield opened
    opened.close()


@pytest.fixture
def watcher(store: Store, monkeypatch: pytest.MonkeyPatch) -> Watcher:
    """Return one that looks only when it is told to."""
    made = Watcher(store, FakeClock(to_datetime(NOW)))
    monkeypatch.setattr(made, "_start", lambda: None)
    monkeypatch.setattr(watching, "_AWAY_SECONDS", 0.0)
    monkeypatch.setattr(watching, "_FORGET_SECONDS", 0.0)
    return made


def waiting(store: Store, *, until: int = NOW * 2) -> str:
    execution = run(store)
    wait = timer(execution, wake_at=until)
    outcome = Outcome(status=ExecutionStatus.WAITING, waits_for=(wait.position,))
    commit_one(store, entry(execution, waits=(wait,), outcome=outcome))
    return execution.id


def test_everyone_has_a_turn_though_others_have_left_much_to_do(
    store: Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_BATCH", 10)
    away = [waiting(store, until=NOW) for _ in range(25)]
    back: list[str] = []
    for exec_id in away:
        watcher.bring_back(exec_id, back.append)
    for _ in range(30):
        create(store, created_at=1)

    for _ in range(10):
        watcher.look()

    assert sorted(back) == sorted(away)
    assert not watcher.expects_any()


def test_answered_executions_come_back_at_the_first_look(
    store: Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_BATCH", 10)
    away = [waiting(store, until=NOW if number == 17 else NOW * 2) for number in range(25)]
    back: list[str] = []
    for exec_id in away:
        watcher.bring_back(exec_id, back.append)

    watcher.look()

    assert back == [away[17]]


def test_process_remembers_no_more_than_so_many(
    store: Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_MOST_AWAY", 3)
    away = [waiting(store) for _ in range(5)]

    for exec_id in away:
        watcher.bring_back(exec_id, lambda _: None)

    assert [watcher.expects(exec_id) for exec_id in away] == [False, False, True, True, True]


def test_executions_that_are_over_are_forgotten(store: Store, watcher: Watcher) -> None:
    exec_id = waiting(store)
    watcher.bring_back(exec_id, lambda _: None)
    store.request_cancel(exec_id, by="me", now=NOW)

    watcher.look()

    assert not watcher.expects(exec_id)


def test_run_that_comes_back_while_the_store_is_asked_is_told_all_the_same(
    store: Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    exec_id = waiting(store, until=NOW)
    [wait] = store.list_waits(exec_id)
    standing = cast(
        "Run", SimpleNamespace(exec_id=exec_id, parking=SimpleNamespace(is_parked=False))
    )
    watcher.watch(standing, wait.position)
    again: list[Closed] = []
    list_waits = store.list_waits

    def meanwhile(*args: Any, **kwargs: Any) -> list[WaitRecord]:
        again.append(watcher.watch(standing, wait.position))
        return list_waits(*args, **kwargs)

    monkeypatch.setattr(store, "list_waits", meanwhile)
    watcher.look()

    assert [closed.done() for closed in again] == [True]


@flow
def approval() -> str:
    return kitaru.wait(schema=str, timeout=600)


@flow
def approval_of_days() -> str:
    return kitaru.wait(schema=str, timeout=0)


@pytest.mark.only_kinds(
    "postgres", "http", reason="files tell nobody of changes, and are looked at"
)
@pytest.mark.parametrize("asking", [approval, approval_of_days])
def test_answer_is_heard_of_by_who_would_not_look_for_minutes(
    asking: Flow[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_LIVE_SECONDS", 600.0)
    monkeypatch.setattr(watching, "_AWAY_SECONDS", 600.0)
    handle = asking.run()

    answer(handle, "yes")

    assert handle.wait() == "yes"
