"""S1: executions, their handles, and what a run is accepted with."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import kitaru
from kitaru import (
    KitaruContextError,
    KitaruSerializationError,
    KitaruStateError,
    KitaruTimeoutError,
    KitaruUsageError,
    checkpoint,
    flow,
)
from kitaru.model import ExecutionFilter, ExecutionStatus
from tests.engine.kit import PATIENCE_SECONDS, calls, execution, leave, runner, store


@flow
def echo(value: object = "default") -> object:
    return value


def test_run_returns_after_the_row_is_durable() -> None:
    gate = threading.Event()

    @flow
    def slow() -> None:
        gate.wait(PATIENCE_SECONDS)

    handle = slow.run()

    assert store().get_execution(handle.exec_id).status is ExecutionStatus.RUNNING  # S1.1
    gate.set()
    handle.wait()
    assert handle.status is ExecutionStatus.COMPLETED


def test_inputs_are_kept_as_they_were_with_defaults_resolved() -> None:
    value = [1]
    gate = threading.Event()

    @flow
    def slow(numbers: list[int], extra: int = 7) -> list[int]:
        gate.wait(PATIENCE_SECONDS)
        return [*numbers, extra]

    handle = slow.run(value)
    value.append(2)
    gate.set()

    assert handle.wait() == [1, 7]  # S1.3
    inputs = runner().services.values.load(execution(handle).inputs)
    assert inputs == {"numbers": [1], "extra": 7}


def test_spec_is_frozen_when_the_run_starts() -> None:
    gate = threading.Event()

    @checkpoint
    def step() -> int:
        return 1

    @flow
    def slow() -> int:
        gate.wait(PATIENCE_SECONDS)
        return step()

    handle = slow.run(retries=2, timeout=60, tags=["a"])
    kitaru.configure(cache=True, max_workers=1)
    gate.set()

    handle.wait()
    row = execution(handle)
    assert row.spec["cache"] is False  # S1.3
    assert (row.spec["retries"], row.spec["timeout"], row.spec["max_workers"]) == (2, 60.0, 32)
    assert row.tags == ("a",)


def test_same_idempotency_key_gives_the_same_execution() -> None:
    ran: list[int] = []

    @flow
    def once(number: int) -> int:
        ran.append(number)
        return number

    first = once.run(1, idempotency_key="k")
    second = once.run(2, idempotency_key="k")

    assert first.exec_id == second.exec_id  # S1.4
    assert (first.wait(), second.wait()) == (1, 1)
    assert once.run(3, idempotency_key="k").wait() == 1
    assert ran == [1]


def test_idempotency_key_belongs_to_its_flow() -> None:
    @flow
    def other() -> str:
        return "other"

    assert echo.run(1, idempotency_key="k").wait() == 1
    assert other.run(idempotency_key="k").wait() == "other"


def test_async_flow_runs_on_the_running_loop_and_is_awaited() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    @flow
    async def steps() -> int:
        loops.append(asyncio.get_running_loop())
        return 1

    async def main() -> int:
        loops.append(asyncio.get_running_loop())
        return await steps.run()

    assert asyncio.run(main()) == 1
    assert loops[0] is loops[1]  # S1.6


def test_async_flow_started_elsewhere_has_a_loop_of_its_own() -> None:
    @flow
    async def steps() -> int:
        await asyncio.sleep(0)
        return 1

    assert steps.run().wait() == 1  # S1.6


def test_sync_flow_may_be_awaited_too() -> None:
    async def main() -> object:
        return await echo.run("x")

    assert asyncio.run(main()) == "x"


def test_wait_that_would_block_the_flows_own_loop_is_refused() -> None:
    @flow
    async def steps() -> int:
        await asyncio.sleep(0)
        return 1

    async def main() -> int:
        handle = steps.run()
        with pytest.raises(KitaruContextError, match="Use `await handle`"):
            handle.wait()
        return await handle

    assert asyncio.run(main()) == 1


def test_cancelling_who_awaits_does_not_cancel_the_execution() -> None:
    async def main() -> str:
        gate = asyncio.Event()

        @flow
        async def steps(value: str) -> str:
            await gate.wait()
            return value

        handle = steps.run("x")

        async def watch() -> str:
            return await handle

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0)
        watcher.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watcher
        gate.set()
        return await handle

    assert asyncio.run(main()) == "x"  # S1.6


def test_wait_with_a_timeout_leaves_the_execution_alone() -> None:
    gate = threading.Event()

    @flow
    def slow() -> int:
        gate.wait(PATIENCE_SECONDS)
        return 1

    handle = slow.run()

    with pytest.raises(KitaruTimeoutError) as caught:
        handle.wait(timeout=0.01)
    assert caught.value.exec_id == handle.exec_id
    assert caught.value.last_status == "running"
    gate.set()
    assert handle.wait(timeout=PATIENCE_SECONDS) == 1


def test_get_of_an_unfinished_execution_is_refused() -> None:
    gate = threading.Event()

    @flow
    def slow() -> int:
        gate.wait(PATIENCE_SECONDS)
        return 1

    handle = slow.run()

    with pytest.raises(KitaruStateError, match="still running"):
        handle.get()
    gate.set()
    leave(handle)
    assert handle.get() == 1


def test_flow_called_like_a_function_says_how_it_is_run() -> None:
    with pytest.raises(KitaruUsageError, match=r"echo\.run\(\.\.\.\)\.wait\(\)"):
        echo(1)


def test_arguments_that_do_not_fit_start_nothing() -> None:
    with pytest.raises(KitaruUsageError, match=r"arguments do not fit echo"):
        echo.run(1, 2)

    assert store().list_executions(ExecutionFilter(project="default"), limit=1) == []


def test_input_that_cannot_be_kept_is_named_and_starts_nothing() -> None:
    with pytest.raises(KitaruSerializationError) as caught:
        echo.run({"locks": [threading.Lock()]})

    assert caught.value.path == 'inputs["value"]["locks"][0]'
    assert store().list_executions(ExecutionFilter(project="default"), limit=1) == []


@pytest.mark.parametrize("name", ["stack", "retries", "idempotency_key", "tags", "from_", "at"])
def test_parameter_with_the_name_of_an_option_is_refused(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def steps({name}): ...", namespace)

    with pytest.raises(KitaruUsageError, match=rf"parameter `{name}` of 'steps'.*Rename it"):
        flow(namespace["steps"])


@pytest.mark.parametrize("name", ["id", "after", "max_concurrency"])
def test_checkpoint_parameter_with_the_name_of_an_option_is_refused(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def step({name}): ...", namespace)

    with pytest.raises(KitaruUsageError, match=rf"parameter `{name}` of 'step'.*Rename it"):
        checkpoint(namespace["step"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "expected `timeout` to be a positive number of seconds, got: 0"),
        ({"timeout": "1"}, "expected `timeout` to be a positive number of seconds, got: '1'"),
        ({"retries": -1}, "expected `retries` of a flow to be 0 or more, got: -1"),
        ({"retries": True}, "expected `retries` of a flow to be 0 or more, got: True"),
        ({"cache": 1}, "expected `cache` to be True, False or a positive timedelta, got: 1"),
        ({"tags": [1]}, "expected `tags` to be a list of strings, got: [1]"),
        ({"stack": "moon"}, "unknown stack 'moon'. Installed: 'local'."),
        ({"idempotency_key": ""}, "expected `idempotency_key` to be a non-empty string, got: ''"),
    ],
)
def test_option_of_a_wrong_kind_is_refused_with_what_was_got(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(KitaruUsageError) as caught:
        echo.run(**options)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"on_divergence": "maybe"},
            "expected `on_divergence` to be one of 'auto', 'reuse', 'rerun', 'fail', got: 'maybe'",
        ),
        ({"max_recoveries": -1}, "expected `max_recoveries` to be 0 or more, got: -1"),
        (
            {"name": "1st"},
            "expected `name` to begin with a letter and to contain only letters, digits, spaces and"
            " the characters '_-.', got: '1st'",
        ),
    ],
)
def test_decorator_option_of_a_wrong_kind_is_refused_with_what_was_got(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(KitaruUsageError) as caught:
        flow(**options)(lambda: None)

    assert str(caught.value) == message


def test_generators_and_classes_are_no_flows() -> None:
    with pytest.raises(KitaruUsageError, match="is a generator"):

        @flow
        def steps() -> Any:
            yield 1

    with pytest.raises(KitaruUsageError, match="`@checkpoint` decorates functions"):
        checkpoint(int)


def test_methods_may_be_checkpoints() -> None:
    class Client:
        def __init__(self, base: int) -> None:
            self.base = base

        @checkpoint(ignore=["self"])
        def fetch(self, number: int) -> int:
            return self.base + number

    @flow
    def steps() -> int:
        return Client(10).fetch(1)

    handle = steps.run()

    assert handle.wait() == 11
    assert list(calls(handle)) == ["fetch#1"]
