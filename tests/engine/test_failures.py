"""S2.5: failures as they are recorded, raised again, and told."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import threading
from typing import Any

import pytest

from kitaru import (
    FailureOrigin,
    KitaruExecutionError,
    KitaruSerializationError,
    KitaruUserCodeError,
    checkpoint,
    flow,
)
from kitaru.model import ExecutionStatus
from tests.engine.kit import Interruption, calls, execution, go_on, leave


class ApiError(Exception):
    """Takes other arguments than it passes on, as many libraries' errors do."""

    def __init__(self, status: int, *, body: dict[str, Any]) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body


class GoneError(Exception):
    """Is taken out of its module between two runs."""


def test_recovery_raises_the_same_type_with_the_same_state(interruption: Interruption) -> None:
    seen: list[ApiError] = []

    @checkpoint
    def ask() -> None:
        raise ApiError(503, body={"retry": [1, 2]})

    @checkpoint
    def end() -> None: ...

    @flow
    def steps() -> str:
        try:
            ask()
        except ApiError as error:
            seen.append(error)
        interruption()
        end()
        return "went on"

    handle = steps.run()

    go_on(steps, handle)

    assert handle.wait() == "went on"
    first, again = seen
    assert type(again) is ApiError  # S2.5
    assert (again.status, again.body, str(again)) == (503, {"retry": [1, 2]}, "status 503")
    assert first is not again


def test_exception_group_of_a_body_is_raised_again_whole(interruption: Interruption) -> None:
    seen: list[list[str]] = []

    @checkpoint
    def fail() -> None:
        raise ExceptionGroup("both", [ValueError("a"), ExceptionGroup("c", [KeyError("b")])])

    @checkpoint
    def end() -> None: ...

    @flow
    def steps() -> None:
        try:
            fail()
        except* ValueError as group:
            seen.append([repr(error) for error in group.exceptions])
        except* KeyError:
            seen.append(["KeyError"])
        interruption()
        end()

    handle = steps.run()

    go_on(steps, handle)

    handle.wait()
    assert len(seen) == 4
    assert seen[:2] == seen[2:]


def test_exception_whose_class_is_gone_comes_back_as_user_code_error(
    interruption: Interruption, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[BaseException] = []

    @checkpoint
    def ask() -> None:
        raise GoneError("as I was")

    @checkpoint
    def end() -> None: ...

    @flow
    def steps() -> None:
        try:
            ask()
        except Exception as error:  # noqa: BLE001 - its type is what is asserted
            seen.append(error)
        interruption()
        end()

    kept = GoneError
    handle = steps.run()
    leave(handle)
    monkeypatch.delattr(sys.modules[__name__], "GoneError")

    go_on(steps, handle)

    handle.wait()
    first, again = seen
    assert type(first) is kept
    assert type(again) is KitaruUserCodeError  # S2.5
    assert "GoneError: as I was" in str(again)


def test_exception_with_state_that_cannot_be_kept_is_still_of_its_type(
    interruption: Interruption,
) -> None:
    seen: list[str] = []

    @checkpoint
    def ask() -> None:
        error = ApiError(500, body={})
        error.add_note("a note")
        vars(error)["lock"] = threading.Lock()
        raise error

    @checkpoint
    def end() -> None: ...

    @flow
    def steps() -> None:
        try:
            ask()
        except ApiError as error:
            seen.append(str(error))
        interruption()
        end()

    handle = steps.run()

    go_on(steps, handle)

    handle.wait()
    assert seen == ["status 500", "status 500"]


def test_failed_flow_raises_user_code_error_with_the_original_as_its_cause() -> None:
    @checkpoint
    def ask() -> None:
        raise ApiError(503, body={})

    @flow
    def steps() -> None:
        ask()

    handle = steps.run()

    with pytest.raises(KitaruUserCodeError) as caught:
        handle.wait()
    error = caught.value
    assert isinstance(error.__cause__, ApiError)
    assert error.exec_id == handle.exec_id
    assert error.status == "failed"
    assert error.failure_origin is FailureOrigin.USER_CODE
    assert f"kitaru executions retry {handle.exec_id}" in str(error)
    assert "raise ApiError(503" in str(error)
    row = execution(handle)
    assert row.failure is not None
    assert row.failure.positions == ("ask#1",)


def test_tracebacks_show_the_users_lines_and_not_kitarus() -> None:
    @checkpoint
    def ask() -> None:
        raise ValueError("here")

    @flow
    def steps() -> None:
        ask()

    handle = steps.run()
    leave(handle)

    failure = execution(handle).failure
    assert failure is not None
    files = re.findall(r'File "([^"]+)"', failure.traceback)
    assert files
    assert all(file == __file__ for file in files)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_flow_that_exits_has_failed(error: type[BaseException]) -> None:
    @flow
    def steps() -> None:
        raise error

    handle = steps.run()

    with pytest.raises(KitaruUserCodeError) as caught:
        handle.wait()
    assert isinstance(caught.value.__cause__, error)
    assert execution(handle).status is ExecutionStatus.FAILED


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_async_flow_that_exits_has_failed(error: type[BaseException]) -> None:
    @flow
    async def steps() -> None:
        raise error

    handle = steps.run()

    with pytest.raises(KitaruUserCodeError) as caught:
        handle.wait()
    assert isinstance(caught.value.__cause__, error)
    assert execution(handle).status is ExecutionStatus.FAILED


def test_body_that_exits_leaves_no_outcome_of_its_call() -> None:
    @checkpoint(retries=3)
    def leave_at_once() -> None:
        sys.exit(3)

    @flow
    def steps() -> None:
        leave_at_once()

    handle = steps.run()

    with pytest.raises(KitaruUserCodeError) as caught:
        handle.wait()
    assert isinstance(caught.value.__cause__, SystemExit)
    assert not any(call.status.is_recorded for call in calls(handle).values())


def test_stop_iteration_of_a_body_is_no_end_of_the_engines_generators() -> None:
    @checkpoint
    def first(items: list[int]) -> int:
        return next(iter(items))

    @flow
    def steps() -> str:
        try:
            first([])
        except StopIteration:
            return "StopIteration"
        except RuntimeError as error:
            return f"RuntimeError from {type(error.__cause__).__name__}"
        return "nothing"

    assert steps.run().wait() == "RuntimeError from StopIteration"


def test_flow_result_that_cannot_be_kept_fails_the_flow_naming_the_part() -> None:
    @flow
    def steps() -> object:
        return {"handle": threading.Lock()}

    handle = steps.run()

    with pytest.raises(KitaruExecutionError) as caught:
        handle.wait()
    assert isinstance(caught.value.__cause__, KitaruSerializationError)
    assert caught.value.__cause__.path == 'result["handle"]'


def test_task_group_does_not_hide_which_call_failed() -> None:
    @checkpoint
    async def fail(number: int) -> None:
        if number:
            raise ValueError(number)

    @flow
    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(fail(number))

    handle = grouped.run()

    with pytest.raises(KitaruUserCodeError) as caught:
        handle.wait()
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    row = execution(handle)
    assert row.failure is not None
    assert row.failure.positions == ("1/fail#1",)


def test_failure_that_nobody_waits_for_is_told_with_id_and_commands(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @flow
    def unloved() -> None:
        raise ValueError("lonely")

    handle = unloved.run()
    exec_id = handle.exec_id
    leave(handle)
    del handle
    gc.collect()

    told = capfd.readouterr().err
    assert f"execution {exec_id} of flow 'unloved' failed with ValueError: lonely" in told
    assert f"kitaru executions get {exec_id}" in told
    assert f"kitaru executions retry {exec_id}" in told


def test_failure_that_someone_saw_is_not_told(capfd: pytest.CaptureFixture[str]) -> None:
    @flow
    def seen() -> None:
        raise ValueError("seen")

    handle = seen.run()
    with pytest.raises(KitaruUserCodeError):
        handle.wait()
    exec_id = handle.exec_id
    del handle
    gc.collect()

    assert exec_id not in capfd.readouterr().err
