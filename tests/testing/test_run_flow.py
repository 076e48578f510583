"""What users write to test their flows, on stores and clocks of the kit's own."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import kitaru
from kitaru import KitaruClient, checkpoint, flow, settings
from kitaru.errors import (
    KitaruContextError,
    KitaruTimeoutError,
    KitaruUsageError,
    KitaruUserCodeError,
    KitaruWaitAbortedError,
    KitaruWaitValidationError,
)
from kitaru.testing import ABORT, EXPIRE, FakeClock, memory_store, run_flow, use_clock


@checkpoint
def double(number: int) -> int:
    return 2 * number


@flow
def doubled(number: int) -> int:
    return double(double(number))


@flow
def approved() -> str:
    yes = kitaru.wait(schema=bool, name="approve", question="Ship it?")
    return "shipped" if yes else "kept"


def test_result_execution_and_checkpoints_of_a_run_are_there() -> None:
    run = run_flow(doubled, 3)

    assert run.result == 12
    assert run.checkpoints == ["double", "double"]
    assert run.execution.exec_id == run.exec_id
    assert run.waits == ()


def test_store_is_empty_private_and_gone_afterwards() -> None:
    before = settings.overrides()

    with memory_store() as client:
        folder = settings.current().config_dir
        first = run_flow(doubled, 1)
        second = run_flow(doubled, 2)
        found = [execution.exec_id for execution in client.executions.list()]
        with memory_store() as inner:
            assert inner.executions.list() == []
            run_flow(doubled, 3)
        assert len(KitaruClient().executions.list()) == 2

    assert set(found) == {first.exec_id, second.exec_id}
    assert not folder.exists()
    assert settings.overrides() == before


def test_runs_that_wait_are_stopped_when_their_store_closes() -> None:
    before = set(threading.enumerate())

    with memory_store():
        handle = approved.run()
        KitaruClient().executions.get(handle.exec_id)

    assert [t for t in threading.enumerate() if t not in before and not t.daemon] == []


def test_plain_runs_work_in_a_memory_store() -> None:
    with memory_store():
        assert doubled.run(4).wait() == 16


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (True, "shipped"),
        ([False], "kept"),
        (lambda question: question.question == "Ship it?", "shipped"),
    ],
)
def test_questions_are_answered(answer: object, result: str) -> None:
    run = run_flow(approved, waits={"approve": answer})

    assert run.result == result
    assert [wait.name for wait in run.waits] == ["approve"]


def test_aborted_wait_fails_the_flow_as_waiting_for_it_would() -> None:
    with pytest.raises(KitaruWaitAbortedError):
        run_flow(approved, waits={"approve": ABORT})


def test_question_without_an_answer_is_named_with_the_way_to_give_one() -> None:
    with pytest.raises(KitaruUsageError) as caught:
        run_flow(approved, waits={"aprove": True})

    for part in ("'approve'", "'Ship it?'", "yes or no", "waits={'approve': ...}", "`aprove`"):
        assert part in str(caught.value)


def test_answer_that_does_not_fit_is_refused() -> None:
    with pytest.raises(KitaruWaitValidationError):
        run_flow(approved, waits={"approve": "perhaps"})


def test_answers_go_by_id_before_name_and_one_by_one() -> None:
    @flow
    def three() -> list[int]:
        return [kitaru.wait(schema=int, name="number") for _ in range(3)]

    assert run_flow(three, waits={"number": [1, 2, 3]}).result == [1, 2, 3]
    assert run_flow(three, waits={"number": 7, "number-2": 8}).result == [7, 8, 7]
    with pytest.raises(KitaruUsageError, match=r"3\. time"):
        run_flow(three, waits={"number": [1, 2]})


def test_time_jumps_over_long_sleeps_and_to_the_end_of_waits() -> None:
    @flow
    def patient() -> tuple[str, timedelta]:
        began = kitaru.now()
        kitaru.sleep(timedelta(days=30))
        kitaru.sleep(5)
        said = kitaru.wait(schema=str, expires=timedelta(hours=1), on_expire="nobody")
        return said, kitaru.now() - began

    real = time.monotonic()
    run = run_flow(patient)

    assert run.result == ("nobody", timedelta(days=30, hours=1, seconds=5))
    assert run_flow(patient, waits={"wait": "me"}).result[0] == "me"
    assert run_flow(patient, waits={"wait": EXPIRE}).result[0] == "nobody"
    assert time.monotonic() - real < 10


def test_clock_is_the_tests_own_if_it_has_one() -> None:
    @flow
    def when() -> datetime:
        kitaru.sleep(timedelta(days=1))
        return kitaru.now()

    clock = FakeClock(datetime(2030, 1, 1, tzinfo=UTC))

    assert run_flow(when, clock=clock).result == datetime(2030, 1, 2, tzinfo=UTC)
    with use_clock(clock):
        assert run_flow(when).result == datetime(2030, 1, 3, tzinfo=UTC)


def test_children_and_their_waits_are_seen_through() -> None:
    @flow
    def child(name: str) -> str:
        kitaru.sleep(timedelta(days=2))
        return f"{name}: {kitaru.wait(schema=str, name='say')}"

    @flow
    def parent() -> list[str]:
        return [handle.wait() for handle in [child.run("a"), child.run("b")]]

    assert run_flow(parent, waits={"say": "hi"}).result == ["a: hi", "b: hi"]


async def _many() -> list[str]:
    async def one(name: str) -> str:
        await kitaru.sleep.aio(timedelta(days=1))
        return await kitaru.wait.aio(schema=str, name=name)

    return list(await asyncio.gather(one("a"), one("b")))


def test_async_flow_with_several_waits_is_seen_through() -> None:
    many = flow(name="many")(_many)

    assert run_flow(many, waits={"a": "x", "b": "y"}).result == ["x", "y"]


def test_run_flow_works_inside_a_running_loop() -> None:
    many = flow(name="many")(_many)

    async def main() -> list[str]:
        return run_flow(many, waits={"a": "x", "b": "y"}).result

    assert asyncio.run(main()) == ["x", "y"]


def test_failed_flow_raises_what_waiting_for_it_would() -> None:
    @flow
    def broken() -> None:
        raise RuntimeError("no")

    with pytest.raises(KitaruUserCodeError) as caught:
        run_flow(broken)

    assert isinstance(caught.value.__cause__, RuntimeError)


def test_run_that_takes_too_long_is_given_up() -> None:
    gate = threading.Event()

    @checkpoint
    def stuck() -> None:
        gate.wait(30)

    @flow
    def hangs() -> None:
        stuck()

    timer = threading.Timer(0.4, gate.set)
    timer.start()
    with pytest.raises(KitaruTimeoutError):
        run_flow(hangs, timeout=0.2)
    timer.join()


def test_misuse_is_refused(tmp_path: Path) -> None:
    @flow
    def inner() -> None:
        run_flow(doubled, 1)

    with pytest.raises(KitaruUserCodeError) as caught:
        run_flow(inner)
    assert isinstance(caught.value.__cause__, KitaruContextError)
    with pytest.raises(KitaruUsageError):
        run_flow(len, "x")  # pyright: ignore[reportCallIssue, reportArgumentType] - the mistake
    with pytest.raises(KitaruUsageError):
        run_flow(approved, waits=["yes"])  # pyright: ignore[reportCallIssue] - the mistake
