"""Flows that run against a server: what they have recorded survives the network, and the server."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from kitaru import KitaruClient, checkpoint, flow, wait
from kitaru.clock import MICROSECONDS
from kitaru.model import ExecutionStatus
from kitaru.store.sqlite import SQLiteStore
from tests.relay import Relay
from tests.server.serving import DEADLINE_SECONDS, RunningServer, wait_until


class Gate:
    """A body that waits inside until the test lets it go on."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self.inside.set()
        assert self.go_on.wait(DEADLINE_SECONDS)


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITARU_LEASE_SECONDS", "0.6")
    monkeypatch.setenv("KITARU_LEASE_RENEW_SECONDS", "0.1")


def has_expired(store: SQLiteStore, exec_id: str) -> bool:
    expires_at = store.get_execution(exec_id).lease_expires_at or 0
    return store.clock.now() > expires_at + MICROSECONDS // 10


def test_run_outlives_a_cut_that_outlasts_its_lease(
    short_lease: None, connected_by_relay: str, relay: Relay, behind: SQLiteStore
) -> None:
    ran: Counter[int] = Counter()
    gate = Gate()

    @checkpoint
    def step(number: int) -> int:
        ran[number] += 1
        if number == 2:
            gate()
        return number

    @flow
    def steps() -> int:
        return sum(step(number) for number in range(1, 5))

    handle = steps.run()
    assert gate.inside.wait(DEADLINE_SECONDS)
    relay.cut()
    wait_until(lambda: has_expired(behind, handle.exec_id))
    gate.go_on.set()
    assert behind.get_execution(handle.exec_id).status is ExecutionStatus.RUNNING
    relay.restore()

    assert handle.wait(timeout=DEADLINE_SECONDS) == 10
    assert ran == Counter({1: 1, 2: 1, 3: 1, 4: 1})
    execution = behind.get_execution(handle.exec_id)
    assert (execution.epoch, execution.recoveries) == (1, 0)


def test_run_between_two_calls_outlives_a_cut_as_well(
    short_lease: None,
    connected_by_relay: str,
    relay: Relay,
    behind: SQLiteStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()

    @checkpoint
    def step(number: int) -> int:
        return number

    @flow
    def steps() -> int:
        first = step(1)
        gate()
        return first + step(2)

    handle = steps.run()
    assert gate.inside.wait(DEADLINE_SECONDS)
    relay.cut()
    wait_until(lambda: has_expired(behind, handle.exec_id))
    gate.go_on.set()
    # Its renewal has failed, and it asks again.
    wait_until(lambda: any(one.name == "kitaru.wire.connection" for one in caplog.records))
    relay.restore()

    assert handle.wait(timeout=DEADLINE_SECONDS) == 3
    assert behind.get_execution(handle.exec_id).recoveries == 0


def test_run_that_was_given_up_during_a_cut_goes_on_under_another_claim(
    connected_by_relay: str, relay: Relay, behind: SQLiteStore
) -> None:
    ran: Counter[int] = Counter()
    gate = Gate()

    @checkpoint
    def step(number: int) -> int:
        ran[number] += 1
        if ran[2]:
            gate()
        return number

    @flow
    def steps() -> int:
        return sum(step(number) for number in range(1, 4))

    handle = steps.run()
    assert gate.inside.wait(DEADLINE_SECONDS)
    owner = behind.get_execution(handle.exec_id).lease_owner or ""
    relay.cut()
    behind.reap(now=behind.clock.now(), dead_owners=[owner])
    relay.restore()
    gate.go_on.set()

    # Nobody else is there to go on with it, so that the process that waits for it does, under another claim.
    assert handle.wait(timeout=DEADLINE_SECONDS) == 6
    assert [(call.position, call.epoch) for call in behind.list_calls(handle.exec_id)] == [
        ("step#1", 1),
        ("step#2", 2),
        ("step#3", 2),
    ]
    assert ran == Counter({1: 1, 2: 2, 3: 1})


def test_run_outlives_restarts_of_its_server(
    connected: str, server: RunningServer, behind: SQLiteStore
) -> None:
    ran: Counter[int] = Counter()
    begun = threading.Event()
    is_restarted = threading.Event()

    @checkpoint
    def step(number: int) -> int:
        ran[number] += 1
        begun.set()
        return number

    @flow
    def steps() -> int:
        total = number = 0
        # However fast they are: some come after the last restart.
        while not is_restarted.is_set() or number < 40:
            number += 1
            total += step(number) * 0 + 1
        return total

    handle = steps.run()
    assert begun.wait(DEADLINE_SECONDS)
    for _ in range(3):
        server.stop()
        server.start()
    is_restarted.set()

    total = handle.wait(timeout=DEADLINE_SECONDS)
    assert total == len(ran) == len(behind.list_calls(handle.exec_id))
    assert set(ran.values()) == {1}
    assert behind.get_execution(handle.exec_id).recoveries == 0


def test_answers_reach_a_run_that_waits(connected: str, behind: SQLiteStore) -> None:
    @flow
    def asking() -> str:
        return wait(schema=str, name="name", question="who?")

    handle = asking.run()
    wait_until(lambda: bool(behind.list_waits(handle.exec_id)))
    KitaruClient().executions.input(handle.exec_id, wait="name", value="me")

    assert handle.wait(timeout=DEADLINE_SECONDS) == "me"
