"""S2.11: results reused across executions."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from kitaru import checkpoint, flow
from kitaru.model import CallStatus
from kitaru.testing import FakeClock
from tests.engine.kit import Interruption, calls, go_on


def test_cached_checkpoint_reuses_the_result_of_another_execution_and_names_it() -> None:
    ran: list[int] = []

    @checkpoint(cache=True)
    def look_up(number: int) -> list[int]:
        ran.append(number)
        return [number]

    @flow
    def steps(number: int) -> list[int]:
        return look_up(number)

    first = steps.run(1)
    assert first.wait() == [1]
    second = steps.run(1)

    assert second.wait() == [1]
    assert steps.run(2).wait() == [2]
    assert ran == [1, 2]
    call = calls(second)["look_up#1"]
    assert call.status is CallStatus.CACHED  # S2.11
    assert call.cached_from == f"{first.exec_id}/look_up#1"


def test_nothing_is_cached_unless_it_is_asked_for() -> None:
    ran: list[int] = []

    @checkpoint
    def step() -> None:
        ran.append(1)

    @checkpoint(cache=False)
    def never() -> None:
        ran.append(2)

    @flow
    def steps() -> None:
        step()
        never()

    steps.run().wait()
    steps.run().wait()
    assert ran == [1, 2, 1, 2]
    steps.run(cache=True).wait()
    steps.run(cache=True).wait()

    assert ran == [1, 2, 1, 2, 1, 2, 2]


def test_result_older_than_the_given_age_is_not_reused(clock: FakeClock) -> None:
    ran: list[int] = []

    @checkpoint(cache=timedelta(hours=1))
    def look_up() -> None:
        ran.append(1)

    @flow
    def steps() -> None:
        look_up()

    steps.run().wait()
    clock.advance(3500)
    steps.run().wait()
    assert len(ran) == 1
    clock.advance(200)
    steps.run().wait()

    assert len(ran) == 2


def test_failures_are_never_reused() -> None:
    ran: list[int] = []

    @checkpoint(cache=True)
    def look_up() -> int:
        ran.append(1)
        if len(ran) == 1:
            raise ConnectionError
        return 5

    @flow
    def steps() -> int:
        try:
            return look_up()
        except ConnectionError:
            return -1

    assert steps.run().wait() == -1
    assert steps.run().wait() == 5


def test_other_code_under_the_same_name_is_another_checkpoint() -> None:
    @checkpoint(cache=True, name="look_up")
    def first() -> int:
        return 1

    @checkpoint(cache=True, name="look_up")
    def second() -> int:
        return 2

    @flow
    def steps(number: int) -> int:
        return first() if number == 1 else second()

    assert steps.run(1).wait() == 1
    assert steps.run(2).wait() == 2


def test_recovery_returns_what_the_cache_gave(interruption: Interruption) -> None:
    @checkpoint(cache=True)
    def look_up() -> list[str]:
        return ["value"]

    @checkpoint
    def end() -> None: ...

    @flow
    def steps(stop: bool) -> list[str]:
        value = look_up()
        if stop:
            interruption()
        end()
        return value

    steps.run(stop=False).wait()
    handle = steps.run(stop=True)

    go_on(steps, handle)

    assert handle.wait() == ["value"]
    assert calls(handle)["look_up#1"].status is CallStatus.CACHED


@pytest.mark.only_kinds(
    "sqlite", reason="about the files of large values; a server has them in its own folder"
)
def test_blob_of_a_reused_result_is_renewed_before_it_is_named_again(config_dir: Path) -> None:
    ran: list[int] = []

    @checkpoint(cache=True)
    def draw() -> bytes:
        ran.append(1)
        return b"x" * 50_000

    @flow
    def steps() -> bytes:
        return draw()

    steps.run().wait()
    [blob] = [file for file in (config_dir / "blobs").rglob("*") if file.is_file()]
    os.utime(blob, (1, 1))

    assert len(steps.run().wait()) == 50_000
    assert blob.stat().st_mtime > 1
    blob.unlink()

    assert len(steps.run().wait()) == 50_000
    assert len(ran) == 2
