"""Where runs meet what they do not own: forks, names, other executions, loops that end."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from typing import Any

import pytest

import kitaru
from kitaru import KitaruContextError, KitaruUsageError, RetryPolicy, checkpoint, flow
from kitaru.engine.pool import Pool
from kitaru.model import CallKind
from tests.engine.kit import Interruption, calls, execution, go_on, leave, runner, store


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_forked_process_has_left_the_flow() -> None:
    @checkpoint
    def step(number: int) -> int:
        return number

    def in_child(number: int) -> str:
        try:
            step(number)
        except KitaruContextError as error:
            return str(error)
        return "it ran"

    @flow
    def forking() -> str:
        receiving, sending = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(
            target=lambda: sending.send(in_child(1))
        )
        child.start()
        said = receiving.recv()
        child.join()
        return said

    handle = forking.run()

    assert "outside a flow" in handle.wait()  # S2.8
    assert calls(handle) == {}


def test_checkpoint_and_flow_of_one_name_keep_their_own_records(
    interruption: Interruption,
) -> None:
    ran: list[int] = []

    @checkpoint(name="audit")
    def body(number: int) -> int:
        ran.append(number)
        return number

    @flow(name="audit")
    def child(number: int) -> int:
        return number * 10

    @flow
    def parent() -> list[int]:
        ten = child.run(1).wait()
        interruption()
        return [body(1), ten]

    handle = parent.run()
    leave(handle)

    go_on(parent, handle)

    assert handle.wait() == [1, 10]  # S1.7
    assert ran == [1]
    kinds = sorted(call.kind for call in calls(handle).values())
    assert kinds == [CallKind.CHECKPOINT, CallKind.CHILD]


@pytest.mark.parametrize(("items", "at_once"), [(40, 1), (100, 20)])
def test_async_map_over_the_futures_of_a_narrow_map_finishes(items: int, at_once: int) -> None:
    @checkpoint
    async def first(number: int) -> int:
        return number

    @checkpoint
    async def second(number: int) -> int:
        return number * 2

    @flow
    async def narrow() -> list[int]:
        return await second.map(first.map(range(items), max_concurrency=at_once))

    assert narrow.run().wait(60) == [number * 2 for number in range(items)]  # S7.2


def test_pool_goes_on_after_a_job_that_fails() -> None:
    pool = Pool(1, name="test")
    ran = threading.Event()

    def fail() -> None:
        message = "against its contract"
        raise RuntimeError(message)

    pool.put(fail)
    pool.put(ran.set)

    assert ran.wait(20)
    pool.close()


def test_cached_result_that_cannot_be_read_is_not_reused() -> None:
    ran: list[int] = []

    @checkpoint(cache=True)
    def large(number: int) -> bytes:
        ran.append(number)
        return b"x" * 100_000

    @flow
    def cached() -> int:
        return len(large(1))

    cached.run().wait()
    for digest in store().list_blob_digests():
        runner().services.values.blobs.delete(digest)

    assert cached.run().wait() == 100_000
    assert ran == [1, 1]


def test_id_of_a_recorded_call_is_refused_to_another(interruption: Interruption) -> None:
    @checkpoint
    def step(number: int) -> int:
        return number

    @flow
    def first() -> None:
        step(1)
        step(2)
        interruption()
        step(3)

    @flow(name="first")
    def second() -> None:
        step(1)
        step(3, id="step-2")

    handle = first.run()
    leave(handle)

    go_on(second, handle, code_changed=True)

    with pytest.raises(kitaru.KitaruUserCodeError) as raised:
        handle.wait()
    assert isinstance(raised.value.__cause__, KitaruUsageError)
    assert "'step-2' belongs to another recorded call" in str(raised.value)


def test_metadata_of_attempts_is_merged() -> None:
    @checkpoint(retries=RetryPolicy(max_attempts=2, delay=0))
    def step() -> None:
        call = kitaru.current_call()
        assert call is not None
        kitaru.log(seen={f"attempt {call.attempt}": True})
        if call.attempt == 1:
            raise ConnectionError

    @flow
    def logging_flow() -> None:
        step()

    handle = logging_flow.run()
    handle.wait()

    [logged] = store().list_metadata(execution(handle).id)
    assert logged.value == '{"attempt 1": true, "attempt 2": true}'  # S6.1


@pytest.mark.parametrize("text", ["\udcff", "", 1])
def test_names_that_cannot_be_stored_are_refused_where_they_are_given(text: Any) -> None:
    @checkpoint
    def named() -> None:
        kitaru.save(text, 1)

    @checkpoint
    def step() -> None: ...

    @flow
    def saves() -> None:
        named()

    @flow
    def gives_an_id() -> None:
        step(id=text)

    for refused in (saves, gives_an_id):
        with pytest.raises(kitaru.KitaruUserCodeError, match="KitaruUsageError"):
            refused.run().wait()
    with pytest.raises(KitaruUsageError, match="`idempotency_key`"):
        saves.run(idempotency_key=text)


def test_result_that_cannot_be_kept_names_the_call_and_the_part() -> None:
    @checkpoint
    def step() -> dict[str, object]:
        return {"lock": threading.Lock()}

    @flow
    def steps() -> None:
        step()

    with pytest.raises(kitaru.KitaruUserCodeError) as raised:
        steps.run().wait()

    cause = raised.value.__cause__
    assert isinstance(cause, kitaru.KitaruSerializationError)
    assert cause.path == 'result["lock"]'  # S2.3
    assert "checkpoint call 'step'" in str(cause)
