"""S1.7: flows started inside flows."""

from __future__ import annotations

import asyncio
import threading

import pytest

from kitaru import KitaruExecutionError, KitaruUserCodeError, checkpoint, flow
from kitaru.model import CallKind, ExecutionFilter, ExecutionRecord, ExecutionStatus
from tests.engine.kit import (
    PATIENCE_SECONDS,
    Interruption,
    calls,
    execution,
    go_on,
    runner,
    store,
    upstreams,
)


def children(parent_id: str) -> list[ExecutionRecord]:
    where = ExecutionFilter(project="default", parent_id=parent_id)
    return store().list_executions(where, limit=100)[::-1]


@flow
def double(number: int) -> int:
    return number * 2


@flow
async def triple(number: int) -> int:
    await asyncio.sleep(0)
    return number * 3


def test_child_is_an_execution_linked_by_parent_and_position() -> None:
    @flow
    def parent() -> int:
        return double.run(2).wait() + triple.run(2).wait()

    handle = parent.run()

    assert handle.wait() == 10
    found = children(handle.exec_id)
    assert [child.flow for child in found] == ["double", "triple"]  # S1.7
    assert [child.parent_position for child in found] == list(calls(handle))
    assert {call.kind for call in calls(handle).values()} == {CallKind.CHILD}
    assert list(upstreams(handle).values()) == [(), ("flow:double#1",)]


def test_async_parent_awaits_its_children_side_by_side() -> None:
    @flow
    async def parent() -> list[int]:
        handles = [triple.run(number) for number in range(3)]
        return await asyncio.gather(*handles, double.run(5))

    assert parent.run().wait() == [0, 3, 6, 10]


def test_recovered_parent_gets_the_same_child(interruption: Interruption) -> None:
    @checkpoint
    def end() -> None: ...

    @flow
    def parent() -> int:
        result = double.run(2).wait()
        interruption()
        end()
        return result

    handle = parent.run()

    go_on(parent, handle)

    assert handle.wait() == 4
    assert len(children(handle.exec_id)) == 1  # S1.7


def test_child_started_inside_a_body_is_the_same_for_every_attempt() -> None:
    tried: list[int] = []

    @checkpoint(retries=1)
    def delegate() -> int:
        result = double.run(2).wait()
        tried.append(result)
        if len(tried) == 1:
            raise ConnectionError
        return result

    @flow
    def parent() -> int:
        return delegate()

    handle = parent.run()

    assert handle.wait() == 4
    assert tried == [4, 4]
    assert len(children(handle.exec_id)) == 1


def test_cancelling_a_parent_cancels_its_children() -> None:
    started = threading.Event()

    @flow
    async def child() -> None:
        started.set()
        await asyncio.Event().wait()

    @flow
    async def parent() -> None:
        await child.run()

    handle = parent.run()
    assert started.wait(PATIENCE_SECONDS)

    handle.cancel()

    with pytest.raises(KitaruExecutionError):
        handle.wait()
    [row] = children(handle.exec_id)
    local = runner().find(row.id)
    if local is not None:
        local.finished.exception(PATIENCE_SECONDS)
    assert store().get_execution(row.id).status is ExecutionStatus.CANCELLED  # S1.7
    assert execution(handle).status is ExecutionStatus.CANCELLED


def test_failure_of_a_child_is_raised_in_the_parent_which_may_catch_it() -> None:
    @flow
    def broken() -> None:
        raise ValueError("child")

    @flow
    def parent() -> str:
        try:
            broken.run().wait()
        except KitaruUserCodeError as error:
            return repr(error.__cause__)
        return "nothing"

    assert parent.run().wait() == "ValueError('child')"


def test_child_that_an_async_parent_leaves_behind_is_still_finished() -> None:
    """The child runs on the parent's loop, which ends with the parent."""
    parent_is_over = threading.Event()

    @flow
    async def child() -> int:
        # No event of asyncio's: the child goes on elsewhere, on another loop.
        for _ in iter(parent_is_over.is_set, True):
            await asyncio.sleep(0)
        return 1

    @flow
    async def parent() -> str:
        return child.run().exec_id

    handle = parent.run()

    child_id = handle.wait()
    parent_is_over.set()
    local = runner().find(child_id)
    if local is not None:
        local.finished.exception(PATIENCE_SECONDS)
    assert store().get_execution(child_id).status is ExecutionStatus.COMPLETED  # S1.1, S1.5
    assert store().get_execution(child_id).recoveries == 0


def test_async_run_that_a_script_does_not_wait_for_is_still_finished() -> None:
    async def main() -> str:
        return triple.run(2).exec_id

    exec_id = asyncio.run(main())

    local = runner().find(exec_id)
    if local is not None:
        local.finished.exception(PATIENCE_SECONDS)
    assert store().get_execution(exec_id).status is ExecutionStatus.COMPLETED  # S1.5
