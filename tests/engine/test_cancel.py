"""S7.1, S7.3: cancelling."""

from __future__ import annotations

import asyncio
import threading

import pytest

import kitaru
from kitaru import KitaruExecutionError, KitaruStateError, checkpoint, flow
from kitaru.model import ExecutionStatus
from tests.engine.kit import PATIENCE_SECONDS, Interruption, calls, execution, leave


def test_async_body_is_cancelled_where_it_stands() -> None:
    started = threading.Event()
    seen: list[str] = []

    @checkpoint
    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    @flow
    async def steps() -> None:
        await forever()

    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)

    handle.cancel()

    with pytest.raises(KitaruExecutionError) as caught:
        handle.wait()
    assert caught.value.status == "cancelled"
    assert seen == ["cancelled"]  # S7.1
    row = execution(handle)
    assert row.status is ExecutionStatus.CANCELLED
    assert row.cancel_requested_by
    assert row.cancel_requested_at is not None
    assert row.ended_at is not None


def test_sync_body_is_stopped_at_its_next_kitaru_call() -> None:
    started, gate = threading.Event(), threading.Event()
    reached: list[str] = []

    @checkpoint
    def slow() -> None:
        started.set()
        gate.wait(PATIENCE_SECONDS)
        reached.append("before")
        kitaru.log(a=1)
        reached.append("after")

    @flow
    def steps() -> None:
        slow()

    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    handle.cancel()
    gate.set()

    with pytest.raises(KitaruExecutionError):
        handle.wait()
    assert reached == ["before"]  # S7.1


def test_users_except_exception_cannot_swallow_a_cancel() -> None:
    started, gate = threading.Event(), threading.Event()
    ran: list[int] = []

    @checkpoint
    def step(number: int) -> None:
        if number == 0:
            started.set()
            gate.wait(PATIENCE_SECONDS)
        ran.append(number)

    @flow
    def steps() -> None:
        for number in range(5):
            try:
                step(number)
            except Exception:  # noqa: BLE001 - what users write
                continue

    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    handle.cancel()
    gate.set()

    with pytest.raises(KitaruExecutionError):
        handle.wait()
    assert execution(handle).status is ExecutionStatus.CANCELLED  # S7.3
    assert ran == [0]


def test_flow_that_swallows_even_the_signal_is_cancelled_all_the_same() -> None:
    started, gate = threading.Event(), threading.Event()

    @checkpoint
    def step(number: int) -> None:
        started.set()
        gate.wait(PATIENCE_SECONDS)

    @flow
    def steps() -> str:
        step(0)
        try:
            step(1)
        except BaseException:  # noqa: BLE001 - the worst that users write
            return "as if nothing had happened"
        return "done"

    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    handle.cancel()
    gate.set()

    with pytest.raises(KitaruExecutionError):
        handle.wait()
    assert execution(handle).status is ExecutionStatus.CANCELLED


def test_queued_submissions_never_start() -> None:
    kitaru.configure(max_workers=1)
    started, gate = threading.Event(), threading.Event()
    ran: list[int] = []

    @checkpoint
    def step(number: int) -> None:
        ran.append(number)
        started.set()
        gate.wait(PATIENCE_SECONDS)

    @flow
    def steps() -> None:
        step.map(range(5)).result()

    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    handle.cancel()
    gate.set()

    with pytest.raises(KitaruExecutionError):
        handle.wait()
    assert ran == [0]  # S7.1


def test_task_group_does_not_hide_a_cancel() -> None:
    started = threading.Event()

    @checkpoint
    async def forever(number: int) -> None:
        if number == 1:
            started.set()
        await asyncio.Event().wait()

    @flow
    async def steps() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(forever(number))

    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    handle.cancel()

    with pytest.raises(KitaruExecutionError):
        handle.wait()
    assert execution(handle).status is ExecutionStatus.CANCELLED  # S7.3


def test_pending_execution_is_cancelled_at_once(interruption: Interruption) -> None:
    @checkpoint
    def step() -> None: ...

    @flow
    def steps() -> None:
        interruption()
        step()

    handle = steps.run()
    leave(handle)

    handle.cancel()

    assert handle.status is ExecutionStatus.CANCELLED
    assert calls(handle) == {}
    with pytest.raises(KitaruExecutionError, match=r"was cancelled by \S+@\S+\."):
        handle.wait()


def test_finished_execution_cannot_be_cancelled() -> None:
    @flow
    def steps() -> int:
        return 1

    handle = steps.run()
    handle.wait()

    with pytest.raises(KitaruStateError):
        handle.cancel()


def test_calls_that_were_recorded_before_a_cancel_stay_recorded() -> None:
    started = threading.Event()

    @checkpoint
    async def step() -> int:
        return 1

    @flow
    async def steps() -> None:
        await step()
        started.set()
        await asyncio.Event().wait()

    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    handle.cancel()

    with pytest.raises(KitaruExecutionError):
        handle.wait()
    assert [call.status.value for call in calls(handle).values()] == ["completed"]
