"""S3.6, S3.7: who holds an execution, for how long, and who can tell that a process is gone."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest

from kitaru import KitaruBackendError, KitaruStateError, checkpoint, flow
from kitaru.engine.owner import Owner, current_owner
from kitaru.engine.pool import Pool
from kitaru.errors import LeaseLost
from kitaru.model import CallStatus, ExecutionStatus
from kitaru.testing import FakeClock
from tests.engine.kit import PATIENCE_SECONDS, calls, execution, fail_to_write, leave, runner


def test_owner_is_read_back_from_how_leases_name_it() -> None:
    owner = current_owner()

    parsed = Owner.parse(str(owner))

    assert parsed is not None
    assert (parsed.pid, parsed.nonce, parsed.host) == (os.getpid(), owner.nonce, owner.host)
    assert parsed.is_on_this_host()
    assert not parsed.is_dead()


@pytest.mark.parametrize("text", ["", "a/b", "host/pid/1.0/x", "host/1/when/x", "a/1/1.0/x/y"])
def test_owner_that_something_else_wrote_is_none(text: str) -> None:
    assert Owner.parse(text) is None


def test_process_that_has_ended_is_dead_and_so_is_another_with_its_pid() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = replace(current_owner(), pid=child.pid, started_at=current_owner().started_at - 3600)
    assert owner.is_dead(), "a process with this pid lives, but it is another one"
    child.communicate()

    assert replace(current_owner(), pid=child.pid).is_dead()


_ASK_AT_ONCE = """
import sys, threading
from kitaru.engine.owner import current_owner

sys.setswitchinterval(1e-6)
together = threading.Barrier(8)
found = []

def ask():
    together.wait()
    found.append(str(current_owner()))

threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), len(set(found)))
"""


def test_process_is_one_owner_to_threads_that_ask_at_the_same_moment() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _ASK_AT_ONCE], capture_output=True, text=True, check=True
    )

    assert ended.stdout.split() == ["8", "1"]


def test_process_elsewhere_is_never_known_to_be_dead() -> None:
    assert not replace(current_owner(), host="elsewhere", pid=2**22 - 1).is_dead()


def _gated() -> tuple[Any, threading.Event, threading.Event]:
    started, gate = threading.Event(), threading.Event()

    @checkpoint
    def step(number: int) -> int:
        started.set()
        gate.wait(PATIENCE_SECONDS)
        return number

    @flow
    def steps() -> int:
        return step(1) + step(2)

    return steps, started, gate


def test_runner_whose_trust_has_run_out_asks_before_it_goes_on(clock: FakeClock) -> None:
    steps, started, gate = _gated()
    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    before = execution(handle).lease_expires_at
    assert before is not None
    clock.advance(7)
    assert not runner().services.leases.trusts(handle.exec_id)
    gate.set()

    assert handle.wait() == 3  # Nobody had taken the expired lease.
    assert runner().in_flight() == []


def test_runner_that_cannot_ask_whether_it_holds_its_lease_leaves_it_recoverable(
    clock: FakeClock,
) -> None:
    steps, started, gate = _gated()
    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    local = runner().find(handle.exec_id)
    assert local is not None
    clock.advance(7)
    # The first commit is the call's, the others ask for the next call whether the lease still holds.
    fail_to_write(KitaruBackendError("the disk is full."), occurrence=2, times=2)
    gate.set()

    leave(handle)

    with pytest.raises(KitaruBackendError, match="disk is full"):
        local.finished.result(0)
    assert execution(handle).status is ExecutionStatus.PENDING
    with pytest.raises(KitaruStateError):
        handle.get()


def test_runner_whose_renewal_fails_asks_as_its_records_do(clock: FakeClock) -> None:
    steps, started, gate = _gated()
    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    clock.advance(7)
    fail_to_write(KitaruBackendError("out of reach."), occurrence=2)
    gate.set()

    assert handle.wait() == 3


def test_renewal_pushes_the_expiry_and_restores_trust(clock: FakeClock) -> None:
    steps, started, gate = _gated()
    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    before = execution(handle).lease_expires_at
    clock.advance(7)

    runner().notice()

    after = execution(handle).lease_expires_at
    assert before is not None
    assert after is not None
    assert after - before == 7_000_000
    assert runner().services.leases.trusts(handle.exec_id)
    gate.set()
    handle.wait()


def test_lease_that_is_gone_at_renewal_stops_the_run(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    steps, started, gate = _gated()
    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    local = runner().find(handle.exec_id)
    assert local is not None
    runner().store.reap(
        now=clock.now(), dead_owners=[str(current_owner())], exec_ids=[handle.exec_id]
    )

    runner().notice()

    assert isinstance(local.run.signal, LeaseLost)
    gate.set()
    leave(handle)
    with pytest.raises(LeaseLost):
        local.finished.result(0)
    assert calls(handle) == {}
    [told] = [record for record in caplog.records if record.name == "kitaru.worker.local"]
    assert told.levelno == logging.WARNING
    assert isinstance(told.args, tuple)
    assert local.finished.exception() in told.args


def test_body_that_takes_long_is_shown_as_running(clock: FakeClock) -> None:
    steps, started, gate = _gated()
    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    local = runner().find(handle.exec_id)
    assert local is not None
    runner()._flusher.show([local.run])
    assert calls(handle) == {}
    clock.advance(1)

    runner()._flusher.show([local.run])

    [call] = calls(handle).values()
    assert (call.call_id, call.status, call.ended_at) == ("step", CallStatus.RUNNING, None)
    gate.set()
    handle.wait()
    assert {call.status for call in calls(handle).values()} == {CallStatus.COMPLETED}


def test_row_for_watching_that_cannot_be_written_harms_nobody(clock: FakeClock) -> None:
    steps, started, gate = _gated()
    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    local = runner().find(handle.exec_id)
    assert local is not None
    clock.advance(1)
    fail_to_write(KitaruBackendError("the disk is full."))

    with pytest.raises(KitaruBackendError):
        runner()._flusher.show([local.run])

    gate.set()
    assert handle.wait() == 3


def test_pool_runs_jobs_in_order_on_at_most_so_many_threads() -> None:
    pool = Pool(2, name="test")
    done: list[int] = []
    threads: set[str] = set()
    over = threading.Event()
    lock = threading.Lock()

    def job(number: int) -> None:
        with lock:
            threads.add(threading.current_thread().name)
            done.append(number)
            if len(done) == 50:
                over.set()

    for number in range(50):
        pool.put(lambda number=number: job(number))

    assert over.wait(PATIENCE_SECONDS)
    assert sorted(done) == list(range(50))
    assert len(threads) <= 2
    pool.close()


def test_closed_pool_drops_what_has_not_started() -> None:
    pool = Pool(1, name="test")
    started, gate, ended = threading.Event(), threading.Event(), threading.Event()
    ran: list[int] = []

    def first() -> None:
        started.set()
        gate.wait(PATIENCE_SECONDS)
        ended.set()

    pool.put(first)
    assert started.wait(PATIENCE_SECONDS)
    pool.put(lambda: ran.append(1))

    pool.close()
    pool.put(lambda: ran.append(2))

    gate.set()
    assert ended.wait(PATIENCE_SECONDS)
    assert ran == []
