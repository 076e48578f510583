"""S4: flows that stop for a person."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import gc
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pydantic
import pytest

import kitaru
from kitaru import (
    FlowHandle,
    KitaruBackendError,
    KitaruContextError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
    KitaruWaitAbortedError,
    KitaruWaitExpiredError,
    checkpoint,
    flow,
)
from kitaru.engine.recorder import Commit
from kitaru.engine.run import Run
from kitaru.model import CallStatus, ExecutionStatus, Outcome, WaitStatus
from kitaru.testing import FakeClock
from tests.engine.kit import (
    Interruption,
    answer,
    asked,
    calls,
    execution,
    forget,
    go_on,
    leave,
    open_waits,
    parked,
    retry,
    runner,
    store,
    until,
)


class Review(pydantic.BaseModel):
    approved: bool
    comment: str = ""
    ticket: UUID = pydantic.Field(default_factory=uuid4)


@checkpoint
def note(text: str) -> str:
    return text


@flow
def approval(patience: float = 600) -> bool:
    note("before")
    approved = kitaru.wait(schema=bool, name="approve", question="Ship it?", timeout=patience)
    note("after")
    return approved


def test_question_is_durable_and_the_execution_parked_while_the_process_waits() -> None:
    handle = approval.run()

    wait = asked(handle, "approve")

    assert (wait.question, wait.schema, wait.name) == ("Ship it?", '{"type":"boolean"}', "approve")
    row = parked(handle)  # S4.2
    assert (row.lease_owner, row.lease_expires_at) == (None, None)  # S4.9
    assert row.status_reason == "waiting for 'approve'"
    answer(handle, True, "approve")
    assert handle.wait() is True


def test_waiting_runner_goes_on_where_it_stands_under_a_new_claim() -> None:
    entered: list[str] = []

    @flow
    def asking() -> str:
        entered.append("body")
        return kitaru.wait(schema=str)

    handle = asking.run()
    answer(handle, "blue")

    assert handle.wait() == "blue"  # S4.5
    assert entered == ["body"]
    assert execution(handle).epoch == 2


def test_suspended_execution_goes_on_in_the_process_that_started_it() -> None:
    entered: list[str] = []

    @flow
    def asking() -> str:
        entered.append("body")
        return kitaru.wait(schema=str, timeout=0)

    handle = asking.run()
    leave(handle)
    assert execution(handle).status is ExecutionStatus.WAITING
    assert runner().find(handle.exec_id) is None  # S4.9

    answer(handle, "blue")

    assert handle.wait() == "blue"
    assert entered == ["body", "body"]


def test_suspended_execution_goes_on_elsewhere_over_its_recorded_calls() -> None:
    handle = approval.run(patience=0)
    forget(handle)
    answer(handle, True, "approve")
    assert execution(handle).status is ExecutionStatus.PENDING  # S4.5

    go_on(approval, handle)

    assert handle.wait() is True
    assert [call.status for call in calls(handle).values()] == [CallStatus.COMPLETED] * 3


def test_answer_that_came_while_the_process_was_away_is_taken_up_without_asking_again() -> None:
    @flow
    def asking() -> list[str]:
        return [kitaru.wait(schema=str, timeout=0), kitaru.wait(schema=str, timeout=0)]

    handle = asking.run()
    answer(handle, "one")
    answer(handle, "two", "wait-2")

    assert handle.wait() == ["one", "two"]
    assert [wait.wait_id for wait in store().list_waits(handle.exec_id)] == ["wait", "wait-2"]


@pytest.mark.parametrize(
    ("schema", "given", "expected"),
    [
        (bool, True, True),
        (int, 3, 3),
        (str, "", ""),
        (list[int], [1, 2], [1, 2]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (Literal["red", "green"], "red", "red"),
        (datetime, "2026-11-23T12:00:00Z", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        (int | None, None, None),
        (Annotated[int, pydantic.Field(ge=1)], 1, 1),
        ({"type": "object"}, {"a": [1]}, {"a": [1]}),
        (None, None, None),
    ],
)
def test_answer_arrives_as_the_declared_type(schema: Any, given: object, expected: object) -> None:
    @flow
    def asking() -> Any:
        return kitaru.wait(schema=schema)

    handle = asking.run()
    answer(handle, given)

    result = handle.wait()
    assert (result, type(result)) == (expected, type(expected))  # S4.4


def test_model_that_fills_in_a_random_default_is_the_same_on_recovery() -> None:
    seen: list[Review] = []

    @flow
    def asking() -> bool:
        seen.append(kitaru.wait(schema=Review, timeout=0))
        return kitaru.wait(schema=bool, name="really", timeout=0)

    handle = asking.run()
    answer(handle, {"approved": True})
    answer(handle, False, "really")

    assert handle.wait() is False
    assert seen[0] == seen[1]
    assert seen[0].approved is True


def test_gate_returns_none_and_stands_in_the_call_graph() -> None:
    @flow
    def gated() -> None:
        note("before")
        kitaru.wait(name="gate")
        note("after")

    handle = gated.run()
    answer(handle, None, "gate")
    handle.wait()

    rows = calls(handle)
    assert rows["wait:gate#1"].upstreams == ("note#1",)
    assert rows["note#2"].upstreams == ("wait:gate#1",)


def test_unnamed_waits_are_numbered_and_a_name_used_twice_gets_an_ordinal() -> None:
    @flow
    def asking() -> None:
        for name in (None, None, "approve", "approve"):
            kitaru.wait(name=name)

    handle = asking.run()
    for wait_id in ("wait", "wait-2", "approve", "approve-2"):  # S4.1
        answer(handle, None, wait_id)
    handle.wait()


def test_aborted_wait_raises_and_the_flow_may_go_on() -> None:
    @flow
    def asking() -> str:
        try:
            kitaru.wait(schema=bool)
        except KitaruWaitAbortedError as error:
            return error.message
        return "answered"

    handle = asking.run()
    answer(handle, abort=True)

    assert handle.wait() == (  # S4.6
        f"wait 'wait' of execution {handle.exec_id!r} was aborted by ann@desk."
    )


def test_retry_after_an_abort_asks_again() -> None:
    handle = approval.run()
    answer(handle, wait_id="approve", abort=True)
    with pytest.raises(KitaruWaitAbortedError):
        handle.wait()

    retry(approval, handle)
    answer(handle, True, "approve")

    assert handle.wait() is True


def test_wait_expires_with_a_value(clock: FakeClock) -> None:
    @flow
    def asking() -> str:
        return kitaru.wait(schema=str, expires=3600, on_expire="nobody", timeout=0)

    handle = asking.run()
    leave(handle)
    clock.advance(3601)

    assert handle.wait() == "nobody"  # S4.2
    [wait] = store().list_waits(handle.exec_id)
    assert wait.status is WaitStatus.EXPIRED


class Verdict(pydantic.BaseModel, extra="forbid"):
    score: int

    @pydantic.computed_field
    @property
    def passed(self) -> bool:  # is in its JSON, and would be refused there
        return self.score > 0


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (None, {"any", "thing"}),
        (bool, False),
        (float, 1),
        (list[int], [1, 2]),
        (int | None, 3),
        (Literal["a", "b"], "b"),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
        (Verdict, Verdict(score=1)),
        (Verdict, {"score": 1}),
    ],
)
def test_wait_expires_with_any_value_that_could_be_its_answer(
    clock: FakeClock, schema: Any, value: object
) -> None:
    @flow
    def asking() -> object:
        return kitaru.wait(schema=schema, expires=3600, on_expire=value, timeout=0)

    handle = asking.run()
    leave(handle)
    clock.advance(3601)

    assert handle.wait() == value


def test_wait_expires_with_an_exception_of_its_own(clock: FakeClock) -> None:
    @flow
    def asking() -> str:
        return kitaru.wait(schema=str, expires=timedelta(hours=1))

    handle = asking.run()
    parked(handle)
    clock.advance(3601)

    with pytest.raises(KitaruWaitExpiredError, match="nobody answered in time"):
        handle.wait()


def test_deadline_does_not_move_when_the_flow_runs_again(clock: FakeClock) -> None:
    @flow
    def asking() -> str:
        return kitaru.wait(schema=str, expires=3600, on_expire="nobody", timeout=0)

    handle = asking.run()
    leave(handle)
    first = asked(handle)
    until(lambda: runner().services.watcher.expects(handle.exec_id))
    clock.advance(1800)
    store().wake_due(now=clock.now(), limit=10)

    local = runner().find(handle.exec_id)
    assert local is None
    assert asked(handle).wake_at == first.wake_at
    clock.advance(1801)
    assert handle.wait() == "nobody"


def test_answer_that_the_types_own_validator_refuses_opens_the_question_again() -> None:
    def even(number: int) -> int:
        if number % 2:
            message = "it is odd"
            raise ValueError(message)
        return number

    @flow
    def asking() -> int:
        return kitaru.wait(schema=Annotated[int, pydantic.AfterValidator(even)], timeout=0)

    handle = asking.run()
    answer(handle, 3)
    again = until(lambda: (w := open_waits(handle).get("wait")) and w.problem and w)

    assert "it is odd" in again.problem
    answer(handle, 4)
    assert handle.wait() == 4


def test_several_waits_are_open_at_once_in_an_async_flow() -> None:
    @flow
    async def committee() -> list[str]:
        return list(
            await asyncio.gather(
                *(kitaru.wait.aio(schema=str, question=f"{who}?") for who in ("ann", "bob", "eve"))
            )
        )

    handle = committee.run()
    answer(handle, "c", "wait-3")  # S4.7
    answer(handle, "a", "wait")
    answer(handle, "b", "wait-2")

    assert handle.wait() == ["a", "b", "c"]


def test_async_flow_leaves_when_all_its_tasks_wait_and_comes_back_with_each_answer() -> None:
    @flow
    async def committee() -> list[str]:
        asking = (kitaru.wait.aio(schema=str, question=who, timeout=0) for who in ("ann", "bob"))
        return list(await asyncio.gather(*asking))

    handle = committee.run()
    asked(handle, "wait-2")
    leave(handle)
    assert execution(handle).status is ExecutionStatus.WAITING
    assert execution(handle).status_reason == "waiting for 'wait', 'wait-2'"

    answer(handle, "b", "wait-2")
    answer(handle, "a", "wait")

    assert handle.wait() == ["a", "b"]


def test_other_work_goes_on_while_a_task_waits() -> None:
    ran: list[int] = []

    @checkpoint
    async def step(number: int) -> int:
        await asyncio.sleep(0.01)
        ran.append(number)
        return number

    @flow
    async def mixed() -> bool:
        async def work() -> None:
            for number in range(5):
                await step(number)

        async with asyncio.TaskGroup() as group:
            answered = group.create_task(kitaru.wait.aio(schema=bool, timeout=0))
            group.create_task(work())
        return answered.result()

    handle = mixed.run()
    leave(handle)

    assert ran == [0, 1, 2, 3, 4]
    answer(handle, True)
    assert handle.wait() is True
    assert ran == [0, 1, 2, 3, 4]


def test_sync_flow_parks_once_its_submitted_calls_are_done() -> None:
    release: concurrent.futures.Future[None] = concurrent.futures.Future()

    @checkpoint
    def slow() -> str:
        release.result()
        return "done"

    @flow
    def asking() -> tuple[str, bool]:
        future = slow.submit()
        approved = kitaru.wait(schema=bool)
        return future.result(), approved

    handle = asking.run()
    asked(handle)
    assert execution(handle).status is ExecutionStatus.RUNNING
    release.set_result(None)
    parked(handle)

    answer(handle, True)
    assert handle.wait() == ("done", True)


def test_answer_is_noticed_while_other_calls_run() -> None:
    release: concurrent.futures.Future[None] = concurrent.futures.Future()

    @checkpoint
    def slow() -> None:
        release.result()

    @flow
    def asking() -> bool:
        slow.submit()
        approved = kitaru.wait(schema=bool)
        release.set_result(None)
        return approved

    handle = asking.run()
    answer(handle, True)

    assert handle.wait() is True
    assert execution(handle).epoch == 1


def test_parent_leaves_the_process_with_its_child_and_both_come_back() -> None:
    @flow
    def child() -> str:
        return kitaru.wait(schema=str, name="word", timeout=0)

    @flow
    def parent() -> str:
        note("begin")
        return child.run().wait() + "!"

    handle = parent.run()
    row = parked(handle)
    assert row.status_reason == "waiting for 'flow:child#1'"
    [wait] = store().list_waits(handle.exec_id)
    assert wait.child_id is not None

    position = until(lambda: store().list_waits(wait.child_id or ""))[0].position
    from kitaru.model import Resolution

    store().resolve_wait(
        wait.child_id,
        position,
        Resolution(status=WaitStatus.ANSWERED, answer='"yes"', by="ann", via="test"),
        now=runner().services.clock.now(),
    )

    assert handle.wait() == "yes!"


def test_cancelling_a_parked_run_ends_it_here_and_now() -> None:
    handle = approval.run()
    asked(handle, "approve")
    parked(handle)

    handle.cancel()

    leave(handle)
    assert execution(handle).status is ExecutionStatus.CANCELLED
    assert [wait.status for wait in store().list_waits(handle.exec_id)] == [WaitStatus.CLOSED]


def test_flow_timeout_does_not_count_the_time_that_a_run_is_parked(clock: FakeClock) -> None:
    @flow(timeout=60)
    def asking() -> bool:
        return kitaru.wait(schema=bool)

    handle = asking.run()
    parked(handle)
    clock.advance(500)
    answer(handle, True)

    assert handle.wait() is True


def test_async_flow_timeout_does_not_strike_while_the_run_is_parked() -> None:
    @flow(timeout=0.3)
    async def asking() -> bool:
        approved = await kitaru.wait.aio(schema=bool)
        await asyncio.sleep(0)
        return approved

    handle = asking.run()
    parked(handle)
    with pytest.raises(kitaru.KitaruTimeoutError):
        handle.wait(timeout=0.5)
    answer(handle, True)

    assert handle.wait() is True


def test_wait_in_the_wrong_place_is_refused() -> None:
    @checkpoint
    def asking_inside() -> None:
        kitaru.wait()

    @flow
    def inside() -> None:
        asking_inside()

    @flow
    async def blocking() -> None:
        kitaru.wait()

    with pytest.raises(KitaruContextError, match="outside a flow"):
        kitaru.wait()
    for wrong, told in ((inside, "asking_inside"), (blocking, r"await kitaru\.wait\.aio")):
        handle = wrong.run()
        with pytest.raises(kitaru.KitaruUserCodeError) as caught:
            handle.wait()
        assert isinstance(caught.value.__cause__, KitaruContextError)
        assert pytest.raises(KitaruContextError, match=told)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"schema": Callable[[], int]}, "schema"),
        ({"schema": 5}, "schema"),
        ({"name": "1 bad"}, "name"),
        ({"question": ""}, "question"),
        ({"timeout": -1}, "timeout"),
        ({"expires": -1}, "expires"),
        ({"expires": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 - the error itself
        ({"on_expire": 1}, "on_expire"),
        (
            {"schema": int, "expires": 1, "on_expire": "notint"},
            "`on_expire` stands for an answer, which it cannot be: answer: expected a whole number,"
            ' got: "notint".',
        ),
        ({"schema": int, "expires": 1, "on_expire": True}, "`on_expire`"),
        ({"schema": {"enum": ["a"]}, "expires": 1, "on_expire": "b"}, "`on_expire`"),
        ({"schema": str, "expires": 1, "on_expire": object()}, "`on_expire`"),
        ({"metadata": [1]}, "metadata"),
        ({"metadata": {"a": object()}}, "JSON"),
    ],
)
def test_option_that_makes_no_sense_is_refused_by_name(options: dict[str, Any], told: str) -> None:
    problems: list[str] = []

    @flow
    def asking() -> None:
        try:
            kitaru.wait(**options)
        except KitaruUsageError as error:
            problems.append(error.message)

    handle = asking.run()
    handle.wait()

    assert told in problems[0]


def test_second_answer_and_unknown_waits_are_refused() -> None:
    handle = approval.run()
    first = answer(handle, True, "approve")
    handle.wait()

    from kitaru.model import Resolution

    late = Resolution(status=WaitStatus.ANSWERED, answer="false", by="bob", via="test")
    with pytest.raises(KitaruStateError, match="ann@desk"):
        store().resolve_wait(handle.exec_id, first.position, late, now=1)
    with pytest.raises(KitaruNotFoundError):
        store().resolve_wait(handle.exec_id, "wait:other#1", late, now=1)


def test_question_with_todays_date_in_it_stays_the_same_question() -> None:
    texts = iter(["Monday?", "Tuesday?"])

    @flow
    def asking() -> bool:
        return kitaru.wait(schema=bool, question=next(texts), timeout=0)

    handle = asking.run()
    leave(handle)
    answer(handle, True)

    assert handle.wait() is True
    assert len(calls(handle)) == 1


@dataclasses.dataclass
class Order:
    item: str
    count: int


def test_dataclass_comes_back_as_one() -> None:
    @flow
    def asking() -> Order:
        return kitaru.wait(schema=Order)

    handle = asking.run()
    answer(handle, {"item": "tea", "count": 2})

    assert handle.wait() == Order("tea", 2)


def test_short_sleep_is_slept_in_place(clock: FakeClock) -> None:
    @flow
    def nap() -> float:
        began = kitaru.now()
        kitaru.sleep(60)
        return (kitaru.now() - began).total_seconds()

    handle = nap.run()

    assert handle.wait() == 60  # S4.8
    assert execution(handle).epoch == 1


def test_long_sleep_leaves_and_is_woken_when_its_time_has_come(clock: FakeClock) -> None:
    @flow
    def month() -> str:
        kitaru.sleep(timedelta(days=30), name="a_month")
        return "later"

    handle = month.run()
    leave(handle)
    assert execution(handle).status is ExecutionStatus.WAITING
    assert list(open_waits(handle)) == ["a_month"]

    clock.advance(timedelta(days=30))

    assert handle.wait() == "later"
    assert execution(handle).epoch == 2


def test_sleep_that_was_interrupted_lasts_only_for_its_rest(clock: FakeClock) -> None:
    @flow
    def nap() -> None:
        kitaru.sleep(3600)

    handle = nap.run()
    forget(handle)
    first = asked(handle, "sleep")
    clock.advance(3599)
    store().wake_due(now=clock.now(), limit=10)
    assert execution(handle).status is ExecutionStatus.WAITING
    clock.advance(1)
    store().wake_due(now=clock.now(), limit=10)

    go_on(nap, handle)

    handle.wait()
    assert first.wake_at is not None
    assert execution(handle).ended_at == first.wake_at


def test_sleep_until_a_moment_that_has_passed_returns_at_once(clock: FakeClock) -> None:
    @flow
    def late() -> None:
        kitaru.sleep(until=datetime(2020, 1, 1, tzinfo=UTC))

    handle = late.run()
    handle.wait()


@pytest.mark.parametrize(
    "options", [{}, {"seconds": 1, "until": datetime.now(UTC)}, {"seconds": -1}]
)
def test_sleep_needs_exactly_one_length(options: dict[str, Any]) -> None:
    problems: list[str] = []

    @flow
    def confused() -> None:
        try:
            kitaru.sleep(**options)
        except KitaruUsageError as error:
            problems.append(error.message)

    confused.run().wait()

    assert "seconds" in problems[0]


def test_async_sleeps_run_beside_each_other(clock: FakeClock) -> None:
    @flow
    async def naps() -> None:
        await asyncio.gather(kitaru.sleep.aio(7200), kitaru.sleep.aio(3600))

    handle = naps.run()
    asked(handle, "sleep-2")
    clock.advance(2)
    leave(handle)
    clock.advance(timedelta(hours=2))

    handle.wait()


def test_failed_flow_closes_the_questions_it_leaves() -> None:
    @flow
    async def failing() -> None:
        async def fail() -> None:
            exec_id = kitaru.current_execution_id() or ""
            await asyncio.to_thread(until, lambda: store().list_waits(exec_id))
            message = "no"
            raise ValueError(message)

        async with asyncio.TaskGroup() as group:
            group.create_task(kitaru.wait.aio(schema=bool))
            group.create_task(fail())

    handle = failing.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait()

    assert [wait.status for wait in store().list_waits(handle.exec_id)] == [WaitStatus.CLOSED]


def test_sleep_that_is_over_is_reported_and_resumed_where_no_process_has_noticed() -> None:
    @flow
    def long() -> str:
        kitaru.sleep(61)
        return "awake"

    handle = long.run()
    forget(handle)
    [timer] = open_waits(handle).values()
    assert timer.wake_at is not None
    later = timer.wake_at + 1
    client = kitaru.KitaruClient()
    with pytest.raises(KitaruStateError, match="its timer 'sleep', until"):
        client.executions.resume(handle.exec_id)

    store().wake_due(now=later, limit=10)
    [found] = client.upkeep.find_interrupted()

    assert (found.exec_id, found.reason) == (handle.exec_id, "what it waited for is over")


def test_question_that_nobody_is_there_for_is_told_with_how_to_answer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    handle = approval.run()
    wait = asked(handle, "approve")
    told = until(lambda: (text := capfd.readouterr().err) and text)
    answer(handle, True, "approve")
    handle.wait()

    assert told == (
        "Kitaru: flow 'approval' waits for 'approve': Ship it? (yes or no)\n"
        f"  answer it: kitaru executions input {wait.exec_id} --wait approve --value JSON\n"
    )


def test_execution_that_has_left_keeps_nothing_of_its_run_in_memory() -> None:
    handle = approval.run(patience=0)
    local = runner().find(handle.exec_id) or handle._local
    assert local is not None
    run = weakref.ref(local.run)
    leave(handle)
    until(lambda: runner().services.watcher.expects(handle.exec_id))

    del local
    handle._local = None
    until(lambda: (gc.collect(), run() is None)[1])

    answer(handle, True, "approve")
    assert handle.wait() is True


def test_parked_flow_whose_event_loop_ends_goes_on_in_a_thread() -> None:
    handles: list[FlowHandle[bool]] = []

    @flow
    async def asking() -> bool:
        return await kitaru.wait.aio(schema=bool)

    async def main() -> None:
        handles.append(asking.run())
        await asyncio.to_thread(parked, handles[0])

    asyncio.run(main())
    [handle] = handles
    assert execution(handle).status is ExecutionStatus.WAITING
    answer(handle, True)

    assert handle.wait() is True


def test_flow_that_stops_waiting_goes_on_with_its_lease_and_a_late_answer_is_refused() -> None:
    ran: list[str] = []

    @checkpoint
    async def fallback() -> str:
        ran.append(execution(handle).status.value)
        return "fallback"

    @flow
    async def impatient() -> str:
        try:
            async with asyncio.timeout(0.2):
                return await kitaru.wait.aio(schema=str)
        except TimeoutError:
            return await fallback()

    handle = impatient.run()

    assert handle.wait() == "fallback"
    assert ran == ["running"]
    [wait] = store().list_waits(handle.exec_id)
    assert wait.status is WaitStatus.ABORTED


def test_question_that_a_faster_task_made_pointless_stays_over_on_recovery(
    interruption: Interruption,
) -> None:
    entered: list[str] = []

    @flow
    async def race() -> tuple[str, str]:
        tasks = [
            asyncio.create_task(kitaru.wait.aio(schema=str, name=name, timeout=0))
            for name in ("a", "b")
        ]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.wait(tasks)
        entered.append(next(iter(done)).result())
        interruption()
        return entered[-1], await kitaru.wait.aio(schema=str, name="c", timeout=0)

    handle = race.run()
    asked(handle, "a")
    answer(handle, "B", "b")
    until(lambda: entered)
    leave(handle)
    closed = {wait.wait_id: wait.status for wait in store().list_waits(handle.exec_id)}
    assert closed == {"a": WaitStatus.CLOSED, "b": WaitStatus.ANSWERED}

    go_on(race, handle)
    answer(handle, "C", "c")

    assert handle.wait() == ("B", "C")
    assert entered[:2] == ["B", "B"]


def test_stack_that_slept_through_someone_elses_claim_is_dropped() -> None:
    ran: list[str] = []

    @checkpoint
    def body() -> str:
        ran.append("body")
        return "done"

    @flow
    def two() -> list[str]:
        first = kitaru.wait(schema=str, name="first")
        body()
        return [first, kitaru.wait(schema=str, name="second")]

    handle = two.run()
    asked(handle, "first")
    local = runner().find(handle.exec_id)
    assert local is not None
    # As if this process had been stopped: it sees neither the answer nor what others make of it.
    looks, runner().services.watcher.look = runner().services.watcher.look, lambda **_: None
    answer(handle, "1", "first")
    taken = runner().services.leases.take(handle.exec_id)
    assert taken is not None
    other = Run(taken[0], runner().services)
    assert other.epoch == 2
    other.recorder.commit(Commit(outcome=Outcome(status=ExecutionStatus.PENDING, runnable_at=1)))

    runner().services.watcher.look = looks
    answer(handle, "2", "second")

    assert handle.wait() == ["1", "2"]
    assert ran == ["body"]
    assert execution(handle).epoch >= 4


def test_store_that_fails_when_an_answer_has_come_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @flow
    def asking() -> str:
        try:
            return kitaru.wait(schema=str)
        except Exception as error:  # noqa: BLE001 - what flows do
            return f"failed: {error}"

    handle = asking.run()
    parked(handle)
    leases = runner().services.leases
    take, failures = leases.take, [KitaruBackendError("the disk is away")]

    def fail_once(exec_id: str) -> Any:
        if failures:
            raise failures.pop()
        return take(exec_id)

    monkeypatch.setattr(leases, "take", fail_once)
    answer(handle, "blue")

    assert handle.wait() == "blue"


def test_execution_that_could_not_be_brought_back_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handle = approval.run(patience=0)
    leave(handle)
    until(lambda: runner().services.watcher.expects(handle.exec_id))
    leases = runner().services.leases
    take, failures = leases.take, [KitaruBackendError("the disk is away")]

    def fail_once(exec_id: str) -> Any:
        if failures:
            raise failures.pop()
        return take(exec_id)

    monkeypatch.setattr(leases, "take", fail_once)
    answer(handle, True, "approve")

    assert handle.wait() is True


def test_parent_that_waits_for_its_child_with_a_timeout_is_there_when_it_has_passed() -> None:
    @flow
    def child() -> str:
        return kitaru.wait(schema=str, timeout=0)

    @flow
    def parent() -> str:
        started = child.run()
        try:
            return started.wait(timeout=2)
        except kitaru.KitaruTimeoutError:
            started.cancel()
            return "cancelled"

    assert parent.run().wait() == "cancelled"


def test_parked_async_flow_leaves_nothing_behind_with_each_look() -> None:
    @flow
    async def asking() -> bool:
        return await kitaru.wait.aio(schema=bool)

    handle = asking.run()
    parked(handle)
    watcher = runner().services.watcher
    until(lambda: bool(watcher._live))  # it begins to listen once its answer about parking has come
    first = next(iter(watcher._live.values()))[1]
    until(lambda: next(iter(watcher._live.values()))[1] is not first)

    callbacks: list[object] = vars(next(iter(watcher._live.values()))[1])["_done_callbacks"]
    assert len(callbacks) <= 1
    answer(handle, True)
    assert handle.wait() is True
