"""A store that fails in the middle of a run, and leases that are lost."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from kitaru import KitaruBackendError, checkpoint, flow
from kitaru.engine.owner import current_owner
from kitaru.errors import LeaseLost
from kitaru.model import Claim, ExecutionStatus
from kitaru.testing import fail_at
from tests.engine.kit import (
    PATIENCE_SECONDS,
    calls,
    execution,
    fail_to_write,
    go_on,
    leave,
    runner,
    store,
)


def broken() -> KitaruBackendError:
    return KitaruBackendError("the disk is full.")


# The first commit is the execution's own.
@pytest.mark.parametrize("occurrence", [2, 3, 4])
def test_run_whose_store_breaks_stays_recoverable(occurrence: int) -> None:
    ran: list[int] = []

    @checkpoint
    def step(number: int) -> int:
        ran.append(number)
        return number

    @flow
    def steps() -> int:
        try:
            return step(1) + step(2)
        except Exception as error:
            raise ValueError("what users make of it") from error

    fail_to_write(broken(), occurrence=occurrence)
    handle = steps.run()

    with pytest.raises(KitaruBackendError, match="disk is full"):
        handle.wait()
    assert execution(handle).status is ExecutionStatus.PENDING
    recorded = len(calls(handle))
    assert recorded == occurrence - 2

    go_on(steps, handle)

    assert handle.wait() == 3
    assert ran == [1, 2][:recorded] + ran[recorded:]
    assert len(ran) == (2 if occurrence == 4 else 3)


def test_run_whose_large_value_cannot_be_written_stays_recoverable() -> None:
    ran: list[int] = []

    @checkpoint
    def large(number: int) -> bytes:
        ran.append(number)
        return bytes(100_000)

    @flow
    def steps() -> int:
        return len(large(1)) + len(large(2))

    fail_at("call.before_blob", broken(), occurrence=2)
    handle = steps.run()

    with pytest.raises(KitaruBackendError, match="disk is full"):
        handle.wait()
    assert execution(handle).status is ExecutionStatus.PENDING

    go_on(steps, handle)

    assert handle.wait() == 200_000
    assert ran == [1, 2, 2]


def test_async_run_whose_store_breaks_stays_recoverable() -> None:
    @checkpoint
    async def step(number: int) -> int:
        return number

    @flow
    async def steps() -> int:
        return sum(await asyncio.gather(step(1), step(2))) + await step(3)

    fail_to_write(broken(), occurrence=3)
    handle = steps.run()

    with pytest.raises(KitaruBackendError, match="disk is full"):
        handle.wait()
    assert execution(handle).status is ExecutionStatus.PENDING

    go_on(steps, handle)

    assert handle.wait() == 6


def test_store_that_refuses_the_first_commit_refuses_the_run() -> None:
    @flow
    def steps() -> int:
        return 1

    steps.run().wait()
    fail_to_write(broken())

    with pytest.raises(KitaruBackendError, match="disk is full"):
        steps.run()


def test_runner_that_nobody_waits_for_tells_how_to_continue(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @checkpoint
    def step() -> None: ...

    @flow
    def steps() -> None:
        step()

    fail_to_write(broken(), occurrence=2)
    handle = steps.run()
    exec_id = handle.exec_id
    leave(handle)
    del handle
    gc.collect()

    told = capfd.readouterr().err
    assert f"execution {exec_id} of flow 'steps' could not go on" in told
    assert f"kitaru executions recover {exec_id}" in told
    assert store().get_execution(exec_id).status is ExecutionStatus.PENDING


def _take_away(exec_id: str) -> None:
    """Do what another process does that finds the lease expired."""
    far_future = runner().services.clock.now() + 10**12
    store().reap(now=far_future, dead_owners=[], exec_ids=[exec_id])
    claim = Claim(owner="other/1/0.00/x", lease_expires_at=far_future)
    [_] = store().claim_executions(claim, now=far_future, limit=1, exec_ids=[exec_id])


@pytest.mark.parametrize("is_async", [False, True])
def test_runner_that_lost_its_lease_writes_nothing_and_stops(is_async: bool) -> None:
    started, gate = threading.Event(), threading.Event()
    ran: list[int] = []

    @checkpoint
    def step(number: int) -> int:
        ran.append(number)
        started.set()
        gate.wait(PATIENCE_SECONDS)
        return number

    @flow
    def sync_steps() -> int:
        try:
            return step(1) + step(2)
        except Exception:  # noqa: BLE001 - what users write
            return 0

    @flow
    async def async_steps() -> int:
        return await asyncio.to_thread(step, 1) + await asyncio.to_thread(step, 2)

    chosen: Any = async_steps if is_async else sync_steps
    handle = chosen.run()
    assert started.wait(PATIENCE_SECONDS)
    local = runner().find(handle.exec_id)
    assert local is not None
    _take_away(handle.exec_id)
    before = execution(handle)
    gate.set()

    with pytest.raises(LeaseLost):  # S3.7
        local.finished.result(PATIENCE_SECONDS)
    assert ran == [1]
    assert calls(handle) == {}
    after = execution(handle)
    assert (after.status, after.epoch, after.lease_owner) == (
        before.status,
        before.epoch,
        before.lease_owner,
    )


def test_execution_that_kills_its_runner_too_often_is_failed_with_the_reason() -> None:
    gate = threading.Event()

    @checkpoint
    def step() -> None:
        gate.wait(PATIENCE_SECONDS)

    @flow(max_recoveries=1)
    def steps() -> None:
        step()

    handle = steps.run()
    owner = str(current_owner())
    now = runner().services.clock.now()
    store().reap(now=now, dead_owners=[owner], exec_ids=[handle.exec_id])
    claim = Claim(owner="other/1/0.00/x", lease_expires_at=now)
    store().claim_executions(claim, now=now, limit=1, exec_ids=[handle.exec_id])
    [row] = store().reap(now=now + 1, dead_owners=[], exec_ids=[handle.exec_id])
    gate.set()
    leave(handle)

    assert row.status is ExecutionStatus.FAILED  # S3.8
    assert row.status_reason is not None
    assert "2 times, more often than `max_recoveries` (1)" in row.status_reason
