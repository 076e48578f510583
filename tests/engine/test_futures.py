"""S2.9, S2.10, S7.2: calls beside the flow, their futures, and how many run at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any, cast

import pytest

import kitaru
from kitaru import KitaruContextError, KitaruUsageError, checkpoint, flow
from kitaru.model import CallStatus
from tests.engine.kit import PATIENCE_SECONDS, Interruption, calls, go_on, upstreams


@checkpoint
def double(number: int) -> int:
    return number * 2


@checkpoint
async def triple(number: int) -> int:
    return number * 3


@checkpoint
def add(numbers: Any, extra: int = 0) -> int:
    return sum(numbers) + extra


def test_submitted_calls_take_their_positions_when_they_are_submitted() -> None:
    gate = threading.Event()

    @checkpoint
    def step(number: int) -> int:
        if number == 0:
            gate.wait(PATIENCE_SECONDS)
        else:
            gate.set()
        return number

    @flow
    def steps() -> list[int]:
        futures = [step.submit(number) for number in range(2)]
        return [future.result() for future in futures]

    handle = steps.run()

    assert handle.wait() == [0, 1]
    inputs = {position: call.call_id for position, call in calls(handle).items()}
    assert inputs == {"step#1": "step", "step#2": "step-2"}  # S2.1


@pytest.mark.parametrize("nest", [list, tuple, lambda futures: dict(enumerate(futures))])
def test_futures_may_be_arguments_also_inside_containers(nest: Any) -> None:
    @checkpoint
    def total(numbers: Any) -> int:
        return sum(numbers.values() if isinstance(numbers, dict) else numbers)

    @flow
    def steps() -> int:
        futures = [double.submit(number) for number in range(3)]
        return total(nest(futures))

    handle = steps.run()

    assert handle.wait() == 6  # S2.9
    assert set(upstreams(handle)["total#1"]) == {"double#1", "double#2", "double#3"}  # S2.10


def test_future_given_to_a_submitted_call_is_waited_for_there() -> None:
    @flow
    def steps() -> int:
        return add.submit([double.submit(1), double.submit(2)], extra=double.submit(3)).result()

    handle = steps.run()

    assert handle.wait() == 12
    assert set(upstreams(handle)["add#1"]) == {"double#1", "double#2", "double#3"}


def test_taken_results_are_upstreams_of_the_next_direct_call() -> None:
    @flow
    def steps() -> None:
        futures = double.map([1, 2])
        futures.result()
        add([0])
        add([1])

    handle = steps.run()

    handle.wait()
    assert upstreams(handle)["add#1"] == ("double#1", "double#2")  # S2.10
    assert upstreams(handle)["add#2"] == ("add#1",)


def test_call_after_others_waits_for_them_and_follows_from_them() -> None:
    order: list[str] = []
    gate = threading.Event()

    @checkpoint
    def slow() -> None:
        gate.wait(PATIENCE_SECONDS)
        order.append("slow")

    @checkpoint
    def quick() -> None:
        order.append("quick")

    @flow
    def steps() -> None:
        first = slow.submit()
        second = quick.submit(after=first)
        third = quick.submit(after=[first, second])
        gate.set()
        third.result()

    handle = steps.run()

    handle.wait()
    assert order == ["slow", "quick", "quick"]
    assert upstreams(handle)["quick#2"] == ("slow#1", "quick#1")


def test_after_takes_futures_only() -> None:
    @flow
    def steps() -> None:
        with pytest.raises(KitaruUsageError, match="expected `after` to be a future"):
            double(1, after=cast("Any", 3))

    steps.run().wait()


def test_map_takes_iterables_side_by_side_and_scalars_for_all() -> None:
    @checkpoint
    def join(left: str, right: int, sign: str) -> str:
        return f"{left}{sign}{right}"

    @flow
    def steps() -> list[str]:
        return join.map(["a", "b"], range(2), sign="=").result()

    assert steps.run().wait() == ["a=0", "b=1"]


def test_product_takes_all_combinations_the_last_fastest() -> None:
    @checkpoint
    def join(left: str, right: int) -> str:
        return f"{left}{right}"

    @flow
    def steps() -> list[str]:
        return join.product(["a", "b"], [0, 1]).result()

    assert steps.run().wait() == ["a0", "a1", "b0", "b1"]


def test_map_of_unequal_lengths_or_of_nothing_is_refused() -> None:
    @flow
    def steps() -> None:
        with pytest.raises(KitaruUsageError, match=r"equal length, got lengths \[1, 2\]"):
            add.map([[1]], [1, 2])
        with pytest.raises(KitaruUsageError, match="needs at least one iterable"):
            double.map(1)
        with pytest.raises(KitaruUsageError, match="`max_concurrency` to be a positive integer"):
            double.map([1], max_concurrency=0)

    steps.run().wait()


def test_max_concurrency_bounds_how_many_run_at_once() -> None:
    lock = threading.Lock()
    running = highest = 0
    meeting = threading.Barrier(2)

    @checkpoint
    def step(number: int) -> int:
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
        meeting.wait(PATIENCE_SECONDS)
        with lock:
            running -= 1
        return number

    @flow
    def steps() -> list[int]:
        return step.map(range(6), max_concurrency=2).result()

    assert steps.run().wait() == list(range(6))
    assert highest == 2  # S7.2


def test_async_map_is_bounded_too() -> None:
    running = highest = 0

    @checkpoint
    async def step(number: int) -> int:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return number

    @flow
    async def steps() -> list[int]:
        return await step.map(range(6), max_concurrency=3)

    assert steps.run().wait() == list(range(6))
    assert highest == 3  # S7.2


def test_submitted_calls_share_a_bounded_pool() -> None:
    kitaru.configure(max_workers=3)
    lock = threading.Lock()
    threads: set[int] = set()
    meeting = threading.Barrier(3)

    @checkpoint
    def step(number: int) -> int:
        with lock:
            threads.add(threading.get_ident())
        meeting.wait(PATIENCE_SECONDS)
        return number

    @flow
    def steps() -> list[int]:
        return step.map(range(9)).result()

    assert steps.run().wait() == list(range(9))
    assert len(threads) == 3  # S7.2


def test_async_checkpoint_may_be_submitted_in_a_sync_flow_and_a_sync_one_in_an_async() -> None:
    @flow
    def outside() -> int:
        return triple.submit(2).result()

    @flow
    async def inside() -> list[int]:
        futures = [double.submit(2), triple.submit(2)]
        return [await future for future in futures]

    assert outside.run().wait() == 6
    assert inside.run().wait() == [4, 6]


def test_result_that_would_block_the_loop_it_needs_is_refused() -> None:
    @checkpoint
    async def slow() -> int:
        await asyncio.sleep(0)
        return 1

    @flow
    async def steps() -> int:
        future = slow.submit()
        with pytest.raises(KitaruContextError, match=r"would block the event loop.*`await future`"):
            future.result()
        return await future

    assert steps.run().wait() == 1


def test_failed_future_raises_where_it_is_taken_and_not_before() -> None:
    @checkpoint
    def fail() -> None:
        raise ValueError("no")

    @flow
    def steps() -> str:
        future = fail.submit()
        concurrent.futures.wait([future])
        assert isinstance(future.exception(), ValueError)
        with pytest.raises(ValueError, match="no"):
            future.result()
        with pytest.raises(ValueError, match="no"):
            add([future])
        return "went on"

    assert steps.run().wait() == "went on"


def test_recorded_submissions_come_back_without_running(interruption: Interruption) -> None:
    ran: list[int] = []

    @checkpoint
    def step(number: int) -> int:
        ran.append(number)
        return number

    @flow
    def steps() -> list[int]:
        first = step.map(range(3)).result()
        interruption()
        return first + step.map(range(3, 6)).result()

    handle = steps.run()

    go_on(steps, handle)

    assert handle.wait() == list(range(6))
    assert sorted(ran) == list(range(6))


def test_asking_whether_a_future_is_done_leaves_what_follows_unordered() -> None:
    gate = threading.Event()

    @checkpoint
    def slow() -> None:
        gate.wait(PATIENCE_SECONDS)

    @flow
    def steps() -> None:
        double(1)
        future = slow.submit()
        double(2)
        assert not future.done()
        double(3)
        gate.set()
        future.result()

    handle = steps.run()

    handle.wait()
    ordered = {position: call.ordered for position, call in calls(handle).items()}
    assert ordered == {
        "double#1": True,
        "slow#1": True,
        "double#2": True,
        "double#3": False,
    }  # S3.3


def test_flow_that_returns_early_is_completed_when_its_submitted_calls_are() -> None:
    gate, returned = threading.Event(), threading.Event()

    @checkpoint
    def slow() -> int:
        gate.wait(PATIENCE_SECONDS)
        return 1

    @flow
    def steps() -> str:
        slow.submit()
        returned.set()
        return "done"

    handle = steps.run()

    assert returned.wait(PATIENCE_SECONDS)
    assert not handle.status.is_finished
    gate.set()
    assert handle.wait() == "done"
    assert calls(handle)["slow#1"].status is CallStatus.COMPLETED
