"""S4.4: what a call follows from is recorded completely, and in little space."""

from __future__ import annotations

import asyncio

from kitaru import FlowHandle, checkpoint, flow
from tests.engine.kit import calls, upstreams


@checkpoint
def step(number: int) -> int:
    return number


@checkpoint
async def astep(number: int) -> int:
    return number


def ancestors(handle: FlowHandle[object]) -> dict[str, set[str]]:
    direct = upstreams(handle)
    found: dict[str, set[str]] = {}

    def of(position: str) -> set[str]:
        if position not in found:
            found[position] = set(direct[position]).union(*map(of, direct[position]))
        return found[position]

    for position in direct:
        of(position)
    return found


def edges(handle: FlowHandle[object]) -> int:
    return sum(map(len, upstreams(handle).values()))


def test_loop_of_submitted_calls_stores_one_edge_each() -> None:
    @flow
    def steps() -> None:
        for number in range(20):
            step.submit(number).result()

    handle = steps.run()
    handle.wait()

    assert edges(handle) == 19
    assert len(ancestors(handle)["step#20"]) == 19


def test_loop_of_awaited_tasks_stores_one_edge_each() -> None:
    @flow
    async def steps() -> None:
        for number in range(20):
            await asyncio.create_task(astep(number))

    handle = steps.run()
    handle.wait()

    assert edges(handle) == 19
    assert max(map(len, ancestors(handle).values())) == 19


def test_fan_outs_without_direct_calls_follow_from_the_last_one_only() -> None:
    @flow
    async def steps() -> None:
        for _ in range(4):
            await asyncio.gather(astep(1), astep(2), astep(3))

    handle = steps.run()
    handle.wait()

    assert edges(handle) == 3 * 9
    assert sorted(map(len, ancestors(handle).values())) == [0] * 3 + [3] * 3 + [6] * 3 + [9] * 3


def test_future_that_is_older_than_the_last_call_is_followed_beside_it() -> None:
    @flow
    def steps() -> None:
        first = step.submit(1)
        second = step.submit(2)
        second.result()
        step(3)
        first.result()
        step.submit(4).result()
        step(5)

    handle = steps.run()
    handle.wait()

    assert upstreams(handle) == {
        "step#1": (),
        "step#2": (),
        "step#3": ("step#2",),
        "step#4": ("step#3", "step#1"),
        "step#5": ("step#4",),
    }


def test_task_that_makes_no_call_changes_nothing() -> None:
    @flow
    async def steps() -> None:
        await astep(1)
        await asyncio.create_task(asyncio.sleep(0))
        await astep(2)

    handle = steps.run()
    handle.wait()

    assert list(upstreams(handle).values()) == [(), ("astep#1",)]
    assert len(calls(handle)) == 2


def test_dropped_future_does_not_lend_its_place_to_a_later_one() -> None:
    @flow
    def steps() -> None:
        step.submit(0)
        for number in range(1, 200):
            step.submit(number).result()

    handle = steps.run()
    handle.wait()

    # The first future was never taken, so whatever is taken after it may have been chosen.
    assert [call.ordered for call in calls(handle).values()][:3] == [True, True, False]
    assert sum(call.ordered for call in calls(handle).values()) == 2
    assert edges(handle) == 198


def test_task_that_ends_during_a_direct_call_is_followed_too() -> None:
    @flow
    async def steps() -> None:
        task = asyncio.create_task(astep(1))
        await slow()
        await task
        await astep(2)

    @checkpoint
    async def slow() -> None:
        for _ in range(50):
            await asyncio.sleep(0.001)

    handle = steps.run()
    handle.wait()

    assert {"0/astep#1", "slow#1"} <= ancestors(handle)["astep#1"]


def test_future_that_another_task_takes_is_followed_there() -> None:
    @flow
    async def steps() -> None:
        future = astep.submit(1)

        async def later() -> None:
            await future
            await astep(2)

        await asyncio.create_task(later())

    handle = steps.run()
    handle.wait()

    assert "astep#1" in ancestors(handle)["0/astep#1"]
