"""S3.1, S3.9: what may be recovered and retried, and what is said of the rest."""

from __future__ import annotations

import threading

import pytest

from kitaru import (
    KitaruNotFoundError,
    KitaruStateError,
    KitaruTimeoutError,
    KitaruUsageError,
    KitaruUserCodeError,
    checkpoint,
    flow,
)
from kitaru.code_ref import CodeRef
from kitaru.engine.context import current_scope
from kitaru.engine.owner import current_owner
from kitaru.model import Claim, ExecutionStatus
from kitaru.worker import find_interrupted, recover, retry_execution, wait_for
from tests.engine.kit import PATIENCE_SECONDS, execution, leave, runner, store


class World:
    """What the flows below find outside, which another process would find changed."""

    stop = False
    fail = False
    started = threading.Event()
    gate = threading.Event()


@pytest.fixture(autouse=True)
def _world() -> None:
    World.stop = World.fail = False
    World.started.clear()
    World.gate.clear()


@checkpoint
def step(number: int) -> int:
    if World.fail:
        raise ConnectionError("down")
    return number


@flow
def steps() -> int:
    first = step(1)
    if World.stop:
        scope = current_scope.get()
        assert scope is not None
        scope.run.release()
    return first + step(2)


@flow
def slow() -> int:
    World.started.set()
    World.gate.wait(PATIENCE_SECONDS)
    return step(1)


def test_released_execution_is_recovered_by_its_stored_reference() -> None:
    World.stop = True
    handle = steps.run()
    leave(handle)
    World.stop = False

    [continued] = recover()

    assert continued.id == handle.exec_id
    assert wait_for(handle.exec_id).status is ExecutionStatus.COMPLETED
    assert handle.wait() == 3


def test_execution_whose_owner_is_gone_is_found_with_the_reason_and_recovered() -> None:
    World.stop = True
    handle = steps.run()
    leave(handle)
    World.stop = False
    dead = f"{current_owner().host}/{2**22 - 1}/0.00/gone"
    now = runner().services.clock.now()
    claim = Claim(owner=dead, lease_expires_at=now + 10**9)
    store().claim_executions(claim, now=now, limit=1)

    [found] = find_interrupted()
    assert found.reason == f"its process {2**22 - 1} on this machine is gone"
    recover([handle.exec_id])

    assert handle.wait() == 3
    assert execution(handle).recoveries == 1


def test_execution_whose_lease_ran_out_is_found_with_the_reason() -> None:
    World.stop = True
    handle = steps.run()
    leave(handle)
    World.stop = False
    now = runner().services.clock.now()
    claim = Claim(owner="elsewhere/7/0.00/x", lease_expires_at=now - 5_000_000)
    store().claim_executions(claim, now=now, limit=1)

    [found] = find_interrupted()

    assert found.reason.startswith("its process 7 has been silent; the lease ran out 5 s ago")


def test_running_execution_is_not_recovered() -> None:
    handle = slow.run()
    assert World.started.wait(PATIENCE_SECONDS)

    with pytest.raises(KitaruStateError, match="is alive and holds its lease"):
        recover([handle.exec_id])
    assert recover() == []
    World.gate.set()
    assert handle.wait() == 1


def test_finished_execution_is_not_recovered() -> None:
    handle = steps.run()
    handle.wait()

    with pytest.raises(KitaruStateError, match="recovered"):
        recover([handle.exec_id])
    with pytest.raises(KitaruNotFoundError):
        recover(["no-such-execution"])


def test_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(KitaruUsageError, match="expected `on_divergence` to be one of 'auto'"):
        recover(on_divergence="maybe")


def test_only_a_failed_execution_is_retried() -> None:
    World.fail = True
    handle = steps.run()
    with pytest.raises(KitaruUserCodeError):
        handle.wait()
    World.fail = False

    assert retry_execution(handle.exec_id).status is ExecutionStatus.RUNNING

    assert handle.wait() == 3
    with pytest.raises(KitaruStateError, match="retried"):
        retry_execution(handle.exec_id)


def test_flow_inside_a_function_cannot_be_found_by_others_and_stays_recoverable() -> None:
    @flow
    def hidden() -> int:
        return step(1)

    handle = hidden.run()
    assert handle.wait() == 1
    World.fail = True
    handle = hidden.run()
    leave(handle)

    with pytest.raises(KitaruNotFoundError, match="defined inside a function"):
        retry_execution(handle.exec_id)
    assert execution(handle).status is ExecutionStatus.FAILED
    with pytest.raises(KitaruUserCodeError):
        handle.wait()


def test_waiting_for_an_execution_times_out_and_leaves_it_alone() -> None:
    handle = slow.run()
    assert World.started.wait(PATIENCE_SECONDS)

    with pytest.raises(KitaruTimeoutError):
        wait_for(handle.exec_id, timeout=0.01)
    World.gate.set()
    assert wait_for(handle.exec_id, timeout=PATIENCE_SECONDS).status is ExecutionStatus.COMPLETED


@pytest.mark.parametrize(
    ("name", "why"), [("made.<locals>.inner", "inside a function"), ("gone", "at a prompt")]
)
def test_flow_that_no_other_process_can_find_is_told_of(name: str, why: str) -> None:
    reference = CodeRef("__main__", name)

    with pytest.raises(KitaruNotFoundError, match=why):
        reference.load()
