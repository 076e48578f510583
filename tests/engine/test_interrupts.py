"""S1.5: Ctrl-C, as the process that runs flows handles it."""

from __future__ import annotations

import signal
import threading

import pytest

import kitaru
from kitaru import checkpoint, flow
from kitaru.model import ExecutionStatus
from kitaru.worker import interrupt, wait_for
from tests.engine.kit import PATIENCE_SECONDS, answer, execution, go_on, leave, parked, runner


def test_interrupt_releases_runs_and_later_runs_know_nothing_of_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    started, gate = threading.Event(), threading.Event()
    ran: list[int] = []

    @checkpoint
    def step(number: int) -> int:
        ran.append(number)
        started.set()
        gate.wait(PATIENCE_SECONDS)
        return number

    @flow
    def steps() -> int:
        return step(1) + step(2)

    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    signal.raise_signal(signal.SIGINT)
    gate.set()

    with pytest.raises(KeyboardInterrupt):
        handle.wait()
    assert execution(handle).status is ExecutionStatus.PENDING
    assert f"steps ({handle.exec_id}) will stop at the next checkpoint" in capfd.readouterr().err

    go_on(steps, handle)

    assert handle.wait() == 3
    assert wait_for(steps.run().exec_id).status is ExecutionStatus.COMPLETED
    assert not interrupt.was_interrupted()
    assert ran[:2] == [1, 2]


def test_interrupt_that_strikes_in_the_middle_of_bookkeeping_does_not_hang() -> None:
    """The handler runs in the main thread, which may hold a run's locks: it commits for async flows."""
    started, gate = threading.Event(), threading.Event()

    @checkpoint
    def step() -> None:
        started.set()
        gate.wait(PATIENCE_SECONDS)

    @flow
    def steps() -> None:
        step()
        step()

    handle = steps.run()
    assert started.wait(PATIENCE_SECONDS)
    local = runner().find(handle.exec_id)
    assert local is not None

    with local.run._lock, runner()._lock:
        signal.raise_signal(signal.SIGINT)

    gate.set()
    leave(handle)
    assert execution(handle).status is ExecutionStatus.PENDING


def test_interrupt_ends_a_wait_and_leaves_the_question_open(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @flow
    def asking() -> bool:
        return kitaru.wait(schema=bool)

    handle = asking.run()
    parked(handle)
    signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        handle.wait()
    assert execution(handle).status is ExecutionStatus.WAITING
    assert not runner().services.watcher.expects(handle.exec_id)
    told = capfd.readouterr().err
    assert f"asking ({handle.exec_id}) goes on waiting without this process" in told
    assert f"`kitaru executions why {handle.exec_id}`" in told
    assert "recover" not in told

    answer(handle, True)
    go_on(asking, handle)

    assert handle.wait() is True


def test_interrupt_tells_those_that_stop_from_those_that_wait(
    capfd: pytest.CaptureFixture[str],
) -> None:
    started, gate = threading.Event(), threading.Event()

    @checkpoint
    def step() -> None:
        started.set()
        gate.wait(PATIENCE_SECONDS)

    @flow
    def working() -> None:
        step()
        step()

    @flow
    def asking() -> bool:
        return kitaru.wait(schema=bool)

    asks, works = asking.run(), working.run()
    parked(asks)
    assert started.wait(PATIENCE_SECONDS)
    signal.raise_signal(signal.SIGINT)
    gate.set()
    leave(asks)
    leave(works)

    [told] = [line for line in capfd.readouterr().err.splitlines() if "Interrupted" in line]
    assert f"working ({works.exec_id}) will stop at the next checkpoint" in told
    assert f"`kitaru executions recover`; asking ({asks.exec_id}) goes on waiting" in told
    assert told.endswith("Press Ctrl-C again to end at once.")
