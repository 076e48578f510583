"""S2: what a checkpoint call does, records and returns."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

import kitaru
from kitaru import KitaruContextError, KitaruSerializationError, KitaruUsageError, checkpoint, flow
from kitaru.model import CallKind, CallStatus
from tests.engine.kit import Interruption, calls, execution, go_on, join, leave, store, upstreams


def test_calls_of_a_sync_flow_stand_in_program_order() -> None:
    @checkpoint
    def fetch(number: int) -> int:
        return number

    @checkpoint
    def parse(number: int) -> int:
        return number

    @flow
    def steps() -> None:
        parse(fetch(1))
        fetch(2)

    handle = steps.run()

    handle.wait()
    assert list(calls(handle)) == ["fetch#1", "parse#1", "fetch#2"]  # S2.1
    assert [call.call_id for call in calls(handle).values()] == ["fetch", "parse", "fetch-2"]
    assert upstreams(handle) == {  # S2.10
        "fetch#1": (),
        "parse#1": ("fetch#1",),
        "fetch#2": ("parse#1",),
    }


def test_each_task_of_an_async_flow_has_a_scope_numbered_by_creation() -> None:
    @checkpoint
    async def step(number: int) -> int:
        return number

    async def nested() -> None:
        await asyncio.gather(step(10), step(11))

    @flow
    async def tree() -> None:
        await step(0)
        async with asyncio.TaskGroup() as group:
            group.create_task(step(1))
            group.create_task(nested())
        await step(2)

    handle = tree.run()

    handle.wait()
    assert upstreams(handle) == {  # S2.1, S2.10
        "step#1": (),
        "0/step#1": ("step#1",),
        "1.0/step#1": ("step#1",),
        "1.1/step#1": ("step#1",),
        "step#2": ("0/step#1", "1.0/step#1", "1.1/step#1"),
    }


def test_fingerprint_is_of_the_bound_arguments_with_defaults() -> None:
    @checkpoint
    def step(first: int, second: int = 2) -> int:
        return first + second

    @flow
    def steps() -> None:
        step(1)
        step(1, 2)
        step(second=2, first=1)
        step(1, 3)

    handle = steps.run()

    handle.wait()
    prints = [call.fingerprint for call in calls(handle).values()]
    assert prints[0] == prints[1] == prints[2] != prints[3]  # S2.2


def test_ignored_arguments_do_not_count_when_calls_are_compared() -> None:
    @checkpoint(ignore=["client"])
    def step(number: int, client: object) -> int:
        return number

    @flow
    def steps() -> None:
        step(1, client=lambda: None)
        step(1, client=threading.Lock())

    handle = steps.run()

    handle.wait()
    prints = {call.fingerprint for call in calls(handle).values()}
    assert len(prints) == 1  # S2.2


def test_record_of_a_call_is_there_before_the_flow_goes_on() -> None:
    seen: list[list[str]] = []

    @checkpoint
    def step() -> int:
        return 1

    @flow
    def steps() -> None:
        step()
        exec_id = kitaru.current_execution_id()
        assert exec_id is not None
        seen.append([call.status.value for call in store().list_calls(exec_id)])

    steps.run().wait()

    assert seen == [["completed"]]  # S2.3


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), "result"),
        ({"client": {"session": [1, threading.Lock()]}}, 'result["client"]["session"][1]'),
    ],
)
def test_result_that_cannot_be_kept_fails_the_call_naming_the_part(value: Any, path: str) -> None:
    @checkpoint(retries=3)
    def step() -> object:
        return value

    @flow
    def steps() -> str:
        with pytest.raises(KitaruSerializationError) as caught:
            step()
        assert caught.value.path == path
        return str(caught.value)

    handle = steps.run()

    assert path in handle.wait()  # S2.3
    assert calls(handle)["step#1"].status is CallStatus.FAILED


def test_argument_that_cannot_be_kept_is_refused_before_the_body_runs() -> None:
    ran: list[int] = []

    @checkpoint
    def step(options: object) -> None:
        ran.append(1)

    @flow
    def steps() -> str:
        with pytest.raises(KitaruSerializationError) as caught:
            step({"lock": threading.Lock()})
        return caught.value.path

    handle = steps.run()

    assert handle.wait() == 'arguments["options"]["lock"]'
    assert ran == []
    assert calls(handle) == {}


def test_changing_a_returned_value_never_changes_the_record(interruption: Interruption) -> None:
    seen: list[list[int]] = []

    @checkpoint
    def step() -> list[int]:
        return [1]

    @flow
    def steps() -> list[int]:
        value = step()
        seen.append(list(value))
        value.append(2)
        interruption()
        step()
        return value

    handle = steps.run()

    go_on(steps, handle)

    assert handle.wait() == [1, 2]
    assert seen == [[1], [1]]  # S2.4


def test_value_that_the_body_goes_on_changing_does_not_change_under_the_flow() -> None:
    kept: list[list[int]] = []

    @checkpoint
    def step() -> list[int]:
        value = [1]
        kept.append(value)
        return value

    @flow
    def steps() -> list[int]:
        value = step()
        kept[0].append(2)
        return value

    assert steps.run().wait() == [1]  # S2.3


def test_large_values_lie_in_blobs_and_come_back(interruption: Interruption) -> None:
    large = b"x" * 100_000

    @checkpoint
    def grow(content: bytes) -> bytes:
        return content * 2

    @flow
    def heavy(content: bytes) -> bytes:
        grown = grow(content)
        interruption()
        return grow(grown)

    handle = heavy.run(large)

    go_on(heavy, handle)

    assert handle.wait() == large * 4
    call = calls(handle)["grow#1"]
    assert call.output is not None
    assert call.output.data is None
    assert call.output.digest is not None
    row = execution(handle)
    assert row.inputs.digest is not None
    assert row.result is not None
    assert row.result.digest is not None


def test_idempotency_key_is_stable_across_attempts_and_recoveries(
    interruption: Interruption,
) -> None:
    keys: list[str] = []

    @checkpoint(retries=2)
    def pay() -> None:
        call = kitaru.current_call()
        assert call is not None
        keys.append(call.idempotency_key)
        interruption()
        if len(keys) < 3:
            raise ConnectionError

    @flow
    def shop() -> None:
        pay()

    handle = shop.run()

    go_on(shop, handle)

    handle.wait()
    assert len(keys) == 3
    assert len(set(keys)) == 1  # S2.7


def test_different_calls_have_different_idempotency_keys() -> None:
    keys: list[str] = []

    @checkpoint
    def pay() -> None:
        call = kitaru.current_call()
        assert call is not None
        keys.append(call.idempotency_key)

    @flow
    def shop() -> None:
        pay()
        pay()

    shop.run().wait()
    shop.run().wait()

    assert len(set(keys)) == 4


def test_checkpoint_outside_a_flow_says_what_to_do() -> None:
    @checkpoint
    def step() -> None: ...

    with pytest.raises(KitaruContextError, match=r"'step' was used outside a flow.*`@flow`"):
        step()  # S2.8


async def _call(function: Any) -> Any:
    return await function()


def test_async_checkpoint_outside_a_flow_says_what_to_do() -> None:
    @checkpoint
    async def step() -> None: ...

    with pytest.raises(KitaruContextError, match="outside a flow"):
        asyncio.run(_call(step))  # S2.8


def test_checkpoint_inside_a_checkpoint_is_refused() -> None:
    @checkpoint
    def inner() -> None: ...

    @checkpoint
    def outer() -> str:
        with pytest.raises(KitaruContextError) as caught:
            inner()
        return str(caught.value)

    @flow
    def steps() -> str:
        return outer()

    text = steps.run().wait()  # S2.8
    assert "'inner'" in text
    assert "inside checkpoint 'outer'" in text


def test_checkpoint_on_a_foreign_thread_is_refused_with_what_to_use_instead() -> None:
    caught: list[BaseException] = []

    @checkpoint
    def step() -> None: ...

    def work() -> None:
        try:
            step()
        except KitaruContextError as error:
            caught.append(error)

    @flow
    def steps() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        join(thread)

    steps.run().wait()

    assert ".submit()" in str(caught[0])  # S2.8


def test_threads_that_carry_the_context_keep_records_apart(interruption: Interruption) -> None:
    """The message of the refusal recommends it, so it must be safe: which thread is first is chance."""
    ran: list[int] = []
    order = [0]

    @checkpoint
    def step(number: int) -> int:
        ran.append(number)
        return number * 10

    @flow
    def steps() -> list[int]:
        results: dict[int, int] = {}

        def work(number: int) -> None:
            results[number] = step(number)

        for number in order:
            thread = threading.Thread(target=contextvars.copy_context().run, args=(work, number))
            thread.start()
            join(thread)
        interruption()
        step(9)
        return [results[0], results[1]]

    handle = steps.run()
    leave(handle)
    order[:] = [1, 0]

    go_on(steps, handle)

    assert handle.wait() == [0, 10]
    assert sorted(ran) == [0, 1, 9]


def test_sync_checkpoints_in_threads_of_asyncio_have_scopes_of_their_tasks() -> None:
    @checkpoint
    def read(number: int) -> int:
        return number

    @flow
    async def reading() -> list[int]:
        return await asyncio.gather(*[asyncio.to_thread(read, number) for number in range(3)])

    handle = reading.run()

    assert handle.wait() == [0, 1, 2]
    assert set(calls(handle)) == {"0/read#1", "1/read#1", "2/read#1"}


def test_given_id_names_the_call_and_may_be_given_once() -> None:
    @checkpoint
    def step(number: int) -> int:
        return number

    @flow
    def steps() -> str:
        step(1, id="first")
        with pytest.raises(KitaruUsageError, match=r"two checkpoint calls.*'first'") as caught:
            step(2, id="first")
        return str(caught.value)

    handle = steps.run()

    handle.wait()
    assert [call.call_id for call in calls(handle).values()] == ["first"]
    assert list(calls(handle)) == ["first#1"]


@pytest.mark.parametrize("label", ["", "a/b", "a#1", 3])
def test_id_that_positions_cannot_hold_is_refused(label: Any) -> None:
    @checkpoint
    def step() -> None: ...

    @flow
    def steps() -> None:
        with pytest.raises(KitaruUsageError, match="expected `id` to be a non-empty string"):
            step(id=label)

    steps.run().wait()


def test_record_of_a_child_is_never_taken_for_a_checkpoint_of_the_same_name(
    interruption: Interruption,
) -> None:
    @checkpoint
    def work(number: int) -> str:
        return f"checkpoint {number}"

    def body(number: int) -> str:
        return f"child {number}"

    child = flow(name="work")(body)

    @flow
    def before() -> list[str]:
        results = [child.run(1).wait()]
        interruption()
        return [*results, work(1)]

    handle = before.run()
    leave(handle)

    go_on(before, handle)

    assert handle.wait() == ["child 1", "checkpoint 1"]
    assert [call.kind for call in calls(handle).values()] == [CallKind.CHILD, CallKind.CHECKPOINT]


def test_deep_recursion_of_calls_is_no_trouble() -> None:
    @checkpoint
    def step(number: int) -> int:
        return number

    def descend(depth: int) -> int:
        return step(depth) + descend(depth - 1) if depth else 0

    @flow
    def deep() -> int:
        return descend(150)

    assert deep.run().wait() == sum(range(151))
