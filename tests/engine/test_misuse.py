"""What is said where checkpoints and flows are used as they cannot be."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import kitaru
from kitaru import KitaruContextError, KitaruUsageError, KitaruUserCodeError, checkpoint, flow
from tests.engine.kit import attempts


@checkpoint
async def fetch(number: int) -> int:
    await asyncio.sleep(0)
    return number


def test_async_checkpoint_called_in_a_sync_flow_is_refused_with_the_way_out() -> None:
    @flow
    def steps() -> list[object]:
        return [fetch(1)]

    with pytest.raises(KitaruUserCodeError) as caught:
        steps.run().wait()

    assert isinstance(caught.value.__cause__, KitaruContextError)
    assert "`fetch.submit(...).result()`" in str(caught.value.__cause__)


def test_async_checkpoint_runs_in_a_loop_of_a_sync_flow() -> None:
    async def both() -> list[int]:
        return [await fetch(1), await fetch(2)]

    @flow
    def steps() -> list[int]:
        return asyncio.run(both())

    assert steps.run().wait() == [1, 2]


def test_several_reserved_parameters_are_named_together() -> None:
    with pytest.raises(
        KitaruUsageError, match=r"parameters `tags`, `timeout` of .* have the names"
    ):

        @flow
        def steps(tags: int, timeout: int) -> None: ...


def test_traceback_of_a_result_that_cannot_be_kept_shows_no_frames_of_kitaru() -> None:
    @checkpoint
    def step() -> object:
        return {"client": threading.Lock()}

    @flow
    def steps() -> None:
        step()

    handle = steps.run()
    with pytest.raises(KitaruUserCodeError):
        handle.wait()

    [attempt] = attempts(handle)
    assert attempt.failure is not None
    assert str(Path(kitaru.__file__).parent) not in attempt.failure.traceback
    assert 'result["client"]' in attempt.failure.traceback
