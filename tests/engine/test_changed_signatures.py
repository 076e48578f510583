"""S3: recorded inputs and a flow whose parameters have changed since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru import Flow, FlowHandle, KitaruDivergenceError, KitaruUserCodeError, flow
from kitaru.engine.context import current_scope
from kitaru.model import ExecutionStatus
from kitaru.worker import recover, retry_execution
from tests.engine.kit import execution, go_on, leave

troubles: list[str] = []


@pytest.fixture(autouse=True)
def _no_troubles() -> None:
    troubles.clear()


def _stop() -> None:
    if "interrupt" in troubles:
        scope = current_scope.get()
        assert scope is not None
        scope.run.release()
        scope.run.check()
    if "fail" in troubles:
        raise ConnectionError


@flow
def greet(name: str, sign: str = "!") -> str:
    _stop()
    return name + sign


@flow
def renamed(who: str, sign: str = "!") -> str:
    return who + sign


@flow
def without_sign(name: str) -> str:
    return name


@flow
def extended(name: str, sign: str = "!", *, times: int = 2, **others: int) -> str:
    return (name + sign) * times + str(others)


def interrupted() -> FlowHandle[str]:
    troubles.append("interrupt")
    handle = greet.run("Ann")
    leave(handle)
    troubles.clear()
    assert execution(handle).status is ExecutionStatus.PENDING
    return handle


def become(monkeypatch: pytest.MonkeyPatch, other: Flow[..., str]) -> None:
    monkeypatch.setattr(greet, "_code", replace(other.code))


@pytest.mark.parametrize(
    ("other", "named"),
    [(renamed, ["'name'", "'who'"]), (without_sign, ["'sign'"])],
)
def test_recovery_names_the_parameters_and_leaves_the_execution(
    monkeypatch: pytest.MonkeyPatch, other: Flow[..., str], named: list[str]
) -> None:
    handle = interrupted()
    with monkeypatch.context() as patch:
        become(patch, other)
        with pytest.raises(KitaruDivergenceError) as caught:
            recover([handle.exec_id])

    assert all(name in str(caught.value) for name in named)
    row = execution(handle)
    assert (row.status, row.epoch) == (ExecutionStatus.PENDING, 1)
    recover([handle.exec_id])
    assert handle.wait() == "Ann!"


def test_retry_names_the_parameters_and_leaves_the_execution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    troubles.append("fail")
    handle = greet.run("Ann")
    with pytest.raises(KitaruUserCodeError):
        handle.wait()
    become(monkeypatch, renamed)

    with pytest.raises(KitaruDivergenceError, match="'who'"):
        retry_execution(handle.exec_id)

    assert execution(handle).status is ExecutionStatus.FAILED


def test_run_that_is_claimed_all_the_same_stays_recoverable() -> None:
    handle = interrupted()

    local = go_on(renamed, handle)

    with pytest.raises(KitaruDivergenceError):
        local.finished.result(20)
    assert execution(handle).status is ExecutionStatus.PENDING
    local.observation.observe()


def test_new_parameters_get_their_defaults() -> None:
    handle = interrupted()

    go_on(extended, handle)

    assert handle.wait() == "Ann!Ann!{}"
