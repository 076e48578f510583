"""S2.5, S2.6: attempts, delays and timeouts; retries of whole flows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import kitaru
from kitaru import KitaruTimeoutError, KitaruUserCodeError, RetryPolicy, checkpoint, flow
from kitaru.model import AttemptStatus, CallStatus, ExecutionStatus
from kitaru.testing import FakeClock
from tests.engine.kit import Interruption, attempts, calls, execution, go_on, leave, retry


def attempt() -> int:
    call = kitaru.current_call()
    assert call is not None
    return call.attempt


def test_failed_attempts_are_recorded_and_tried_again_after_the_delay(clock: FakeClock) -> None:
    began = clock.now()

    @checkpoint(retries=RetryPolicy(max_attempts=3, delay=10, backoff=2, jitter=0))
    def flaky() -> int:
        if attempt() < 3:
            raise ConnectionError(f"attempt {attempt()}")
        return attempt()

    @flow
    def steps() -> int:
        return flaky()

    handle = steps.run()

    assert handle.wait() == 3  # S2.6
    assert clock.now() - began == 30_000_000
    assert [(a.number, a.status, a.failure.message) for a in attempts(handle)] == [  # S2.5
        (1, AttemptStatus.FAILED, "attempt 1"),
        (2, AttemptStatus.FAILED, "attempt 2"),
    ]
    assert "ConnectionError" in attempts(handle)[0].failure.traceback


def test_async_attempts_are_tried_again_too(clock: FakeClock) -> None:
    @checkpoint(retries=RetryPolicy(max_attempts=3, delay=3600, jitter=0))
    async def flaky() -> int:
        if attempt() < 3:
            raise ConnectionError
        return attempt()

    @flow
    async def steps() -> int:
        return await flaky()

    assert steps.run().wait() == 3


def test_exceptions_to_give_up_on_are_not_tried_again() -> None:
    policy = RetryPolicy(max_attempts=5, delay=0, retry_on=OSError, give_up_on=FileNotFoundError)

    @checkpoint(retries=policy)
    def fail(error: type[Exception]) -> None:
        raise error

    @flow
    def steps() -> None:
        for error in (FileNotFoundError, ValueError, PermissionError):
            with pytest.raises(error):
                fail(error)

    handle = steps.run()

    handle.wait()
    numbers: dict[str, int] = {}
    for entry in attempts(handle):
        numbers[entry.position] = entry.number
    assert numbers == {"fail#1": 1, "fail#2": 1, "fail#3": 5}


def test_original_exception_is_raised_after_the_last_attempt() -> None:
    error = ValueError("the very one")

    @checkpoint(retries=1)
    def fail() -> None:
        raise error

    @flow
    def steps() -> bool:
        try:
            fail()
        except ValueError as caught:
            return caught is error
        return False

    assert steps.run().wait() is True  # S2.5


def test_crash_between_attempts_does_not_begin_the_count_anew(interruption: Interruption) -> None:
    seen: list[int] = []

    @checkpoint(retries=2)
    def fail() -> None:
        seen.append(attempt())
        if attempt() == 2:
            interruption()
        raise ConnectionError

    @flow
    def steps() -> None:
        fail()

    handle = steps.run()

    go_on(steps, handle)

    with pytest.raises(KitaruUserCodeError):
        handle.wait()
    assert seen == [1, 2, 3]


def test_retry_of_a_failed_execution_gives_the_call_all_its_attempts_again() -> None:
    seen: list[int] = []

    @checkpoint(retries=1)
    def fail() -> int:
        seen.append(attempt())
        if attempt() < 4:
            raise ConnectionError
        return attempt()

    @flow
    def steps() -> int:
        return fail()

    handle = steps.run()

    retry(steps, handle)

    assert handle.wait() == 4
    assert seen == [1, 2, 3, 4]
    assert [a.number for a in attempts(handle)] == [1, 2, 3]


def test_async_body_is_cancelled_at_its_timeout() -> None:
    cancelled: list[int] = []

    @checkpoint(timeout=0.05)
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    @flow
    async def steps() -> str:
        with pytest.raises(KitaruTimeoutError) as caught:
            await slow()
        return str(caught.value)

    handle = steps.run()

    assert "'slow'" in handle.wait()
    assert cancelled == [1]  # S2.6
    assert [a.status for a in attempts(handle)] == [AttemptStatus.TIMED_OUT]


def test_sync_body_is_stopped_at_its_next_kitaru_call(clock: FakeClock) -> None:
    reached: list[str] = []

    @checkpoint(timeout=5)
    def slow() -> None:
        clock.advance(6)
        reached.append("before")
        kitaru.log(step=1)
        reached.append("after")

    @flow
    def steps() -> None:
        with pytest.raises(KitaruTimeoutError, match="timeout of 5 s"):
            slow()

    handle = steps.run()

    handle.wait()
    assert reached == ["before"]  # S2.6
    assert [a.status for a in attempts(handle)] == [AttemptStatus.TIMED_OUT]


def test_sync_body_that_returns_too_late_has_timed_out_and_is_tried_again(clock: FakeClock) -> None:
    @checkpoint(timeout=5, retries=1)
    def slow() -> int:
        if attempt() == 1:
            clock.advance(6)
        return attempt()

    @flow
    def steps() -> int:
        return slow()

    handle = steps.run()

    assert handle.wait() == 2
    assert [a.status for a in attempts(handle)] == [AttemptStatus.TIMED_OUT]


def test_timeout_inside_the_body_is_a_failure_like_any_other() -> None:
    @checkpoint(timeout=60)
    async def step() -> None:
        raise TimeoutError("of a client")

    @flow
    async def steps() -> None:
        with pytest.raises(TimeoutError, match="of a client"):
            await step()

    handle = steps.run()

    handle.wait()
    assert [a.status for a in attempts(handle)] == [AttemptStatus.FAILED]


def test_sync_flow_fails_at_its_next_call_after_its_timeout(clock: FakeClock) -> None:
    @checkpoint
    def step() -> None:
        clock.advance(60)

    @flow(timeout=100)
    def steps() -> None:
        while True:
            step()

    handle = steps.run()

    with pytest.raises(KitaruUserCodeError) as caught:
        handle.wait()
    assert isinstance(caught.value.__cause__, KitaruTimeoutError)
    assert len(calls(handle)) == 2
    assert execution(handle).status_reason == "timed out"


def test_async_flow_is_cancelled_at_its_timeout() -> None:
    @flow(timeout=0.05)
    async def slow() -> None:
        await asyncio.Event().wait()

    handle = slow.run()

    with pytest.raises(KitaruUserCodeError) as caught:
        handle.wait()
    assert isinstance(caught.value.__cause__, KitaruTimeoutError)
    assert execution(handle).status is ExecutionStatus.FAILED


def test_failed_flow_with_retries_runs_again_over_the_calls_that_did_not_fail() -> None:
    ran: list[str] = []

    @checkpoint
    def prepare() -> None:
        ran.append("prepare")

    @checkpoint
    def launch() -> int:
        ran.append("launch")
        if attempt() < 3:
            raise RuntimeError
        return attempt()

    @flow(retries=2)
    def mission() -> int:
        prepare()
        return launch()

    handle = mission.run()

    assert handle.wait() == 3
    assert ran == ["prepare", "launch", "launch", "launch"]
    row = execution(handle)
    assert (row.status, row.retries_left, row.epoch) == (ExecutionStatus.COMPLETED, 0, 3)


def test_flow_that_has_used_up_its_retries_fails_with_the_last_failure() -> None:
    ran: list[int] = []

    @flow
    def mission() -> None:
        ran.append(1)
        raise RuntimeError(f"attempt {len(ran)}")

    handle = mission.run(retries=1)

    with pytest.raises(KitaruUserCodeError, match="attempt 2"):
        handle.wait()
    assert len(ran) == 2


def test_retry_runs_what_failed_and_leaves_caught_failures_as_they_are() -> None:
    ran: list[str] = []

    @checkpoint
    def ask(who: str) -> str:
        ran.append(who)
        if who == "primary" or (who == "late" and attempt() == 1):
            raise ConnectionError(who)
        return who

    @flow
    def steps() -> list[str]:
        answers: list[str] = []
        try:
            answers.append(ask("primary"))
        except ConnectionError:
            answers.append("caught")
        answers.append(ask("secondary"))
        return [*answers, ask("late")]

    handle = steps.run()

    retry(steps, handle)

    assert handle.wait() == ["caught", "secondary", "late"]
    assert ran == ["primary", "secondary", "late", "late"]
    assert calls(handle)["ask#1"].status is CallStatus.FAILED


def test_retry_of_a_fan_out_runs_only_the_branches_that_failed() -> None:
    ran: list[int] = []
    broken = True

    @checkpoint
    def step(number: int) -> int:
        ran.append(number)
        if broken and number % 2:
            raise ConnectionError(number)
        return number

    @flow
    def steps() -> list[int]:
        futures = step.map(range(5))
        [future.exception() for future in futures]
        return futures.result()

    handle = steps.run()
    leave(handle)
    assert sorted(ran) == [0, 1, 2, 3, 4]
    broken = False

    retry(steps, handle)

    assert handle.wait() == [0, 1, 2, 3, 4]
    assert sorted(ran[5:]) == [1, 3]


@pytest.mark.parametrize("retries", [True, -1, "3", 1.5])
def test_retries_of_the_wrong_kind_are_refused_with_what_was_got(retries: Any) -> None:
    with pytest.raises(kitaru.KitaruUsageError, match=rf"expected `retries`.*got: {retries!r}$"):

        @checkpoint(retries=retries)
        def step() -> None: ...


def test_interrupted_retry_goes_on_with_the_attempts_that_are_left(
    interruption: Interruption,
) -> None:
    interruption.is_due = False

    @checkpoint(retries=RetryPolicy(max_attempts=3, delay=0))
    def step() -> int:
        number = attempt()
        if number == 4:
            interruption.is_due = True
            interruption()
        if number < 6:
            raise ConnectionError(f"attempt {number}")
        return number

    @flow
    def stubborn() -> int:
        return step()

    handle = stubborn.run()
    leave(handle)
    retry(stubborn, handle)
    leave(handle)

    go_on(stubborn, handle)

    assert handle.wait() == 6  # S2.6: three attempts of the first run, three of the retry


def test_retry_and_recovery_have_the_whole_timeout_again(
    clock: FakeClock, interruption: Interruption
) -> None:
    slow = [True]

    @checkpoint
    def step(number: int) -> int:
        if number == 1 and slow:
            slow.pop()
            clock.advance(101)
        return number

    @flow(timeout=100)
    def steps() -> list[int]:
        numbers = [step(1), step(2)]
        clock.advance(60)
        interruption()
        return [*numbers, step(3)]

    interruption.is_due = False
    handle = steps.run()
    with pytest.raises(KitaruUserCodeError):
        handle.wait()
    interruption.is_due = True

    retry(steps, handle)
    leave(handle)
    clock.advance(1000)
    go_on(steps, handle)

    assert handle.wait() == [1, 2, 3]


def test_failed_attempt_tells_when_the_next_one_begins_and_how_many_there_may_be(
    clock: FakeClock,
) -> None:
    policy = RetryPolicy(max_attempts=3, delay=10, backoff=2, jitter=0)

    @checkpoint(retries=policy)
    def fails() -> None:
        message = "no"
        raise ValueError(message)

    @flow
    def trying() -> None:
        fails()

    handle = trying.run()
    with pytest.raises(KitaruUserCodeError):
        handle.wait()

    first, second, last = attempts(handle)
    assert (first.most, second.most, last.most) == (3, 3, None)
    assert (first.next_at, last.next_at) == (first.ended_at + 10_000_000, None)
    assert second.next_at == second.ended_at + 20_000_000
