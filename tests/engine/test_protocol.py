"""The protocol of a call, driven by hand: which commands it gives in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kitaru import RetryPolicy, checkpoint
from kitaru.authoring.checkpoint import Checkpoint
from kitaru.engine.calls import Call
from kitaru.engine.dispatch import open_call
from kitaru.engine.protocol import Fetch, Invoke, Sleep, Steps, run_call, settle
from kitaru.engine.recorder import Commit
from kitaru.engine.run import Run
from kitaru.errors import CancelRequested
from kitaru.model import AttemptStatus, CallStatus, Claim, NewExecution
from kitaru.testing import FakeClock
from tests.engine.kit import runner


@pytest.fixture
def run(clock: FakeClock) -> Iterator[Run]:
    """Return a claimed execution whose flow never starts."""
    services = runner().services
    new = NewExecution(
        id="01",
        project="default",
        flow="steps",
        code_ref="nowhere:steps",
        code_root="",
        code_hash="",
        inputs=services.values.keep(services.values.encode({}, root="inputs")),
        stack="local",
        spec={},
        created_at=clock.now(),
        claim=Claim(owner="me", lease_expires_at=clock.now() + 10**12),
    )
    execution = services.writer.write(new).execution
    assert execution is not None
    run = Run(execution, services)
    services.leases.hold(run, clock.monotonic() + 10**6)
    yield run
    services.leases.let_go(run)


def call_of(run: Run, function: Checkpoint[..., Any], *args: Any) -> Call:
    arguments = function._binder.bind(args, {})
    call, _ = open_call(run.root, function._spec, arguments=arguments, args=args, kwargs={})
    settle(call)
    return call


def end_of(steps: Steps, value: Any = None) -> Any:
    with pytest.raises(StopIteration) as ended:
        steps.send(value)
    return ended.value.value


def test_successful_call_runs_its_body_commits_and_returns(run: Run) -> None:
    @checkpoint(type="tool")
    def step(number: int) -> int:
        return number

    call = call_of(run, step, 1)
    steps = run_call(call)

    invoke = next(steps)
    assert isinstance(invoke, Invoke)
    assert (invoke.active.attempt, invoke.active.call) == (1, call)
    commit = steps.send(7)
    assert isinstance(commit, Commit)
    [row] = commit.calls
    assert (row.position, row.call_id, row.status) == ("step#1", "step", CallStatus.COMPLETED)
    assert (row.type, row.epoch, row.ordered) == ("tool", 1, True)
    assert end_of(steps) == 7


def test_large_result_is_kept_before_the_row_that_names_it(run: Run) -> None:
    @checkpoint
    def step() -> bytes:
        return b""

    steps = run_call(call_of(run, step))
    next(steps)

    fetch = steps.send(b"x" * 50_000)

    assert isinstance(fetch, Fetch)
    stored = fetch.operation()
    commit = steps.send(stored)
    assert isinstance(commit, Commit)
    assert commit.calls[0].output == stored
    assert stored.digest is not None


def test_failed_attempt_is_committed_before_the_delay(run: Run) -> None:
    @checkpoint(retries=RetryPolicy(max_attempts=2, delay=5, jitter=0))
    def step() -> None: ...

    steps = run_call(call_of(run, step))
    next(steps)

    commit = steps.throw(ConnectionError("first"))

    assert isinstance(commit, Commit)
    assert [row.status for row in commit.calls] == [CallStatus.RUNNING]
    [attempt] = commit.attempts
    assert (attempt.number, attempt.status) == (1, AttemptStatus.FAILED)
    sleep = steps.send(None)
    assert isinstance(sleep, Sleep)
    assert sleep.seconds == 5
    again = steps.send(None)
    assert isinstance(again, Invoke)
    assert again.active.attempt == 2


def test_last_failure_is_committed_before_it_is_raised(run: Run) -> None:
    @checkpoint
    def step() -> None: ...

    steps = run_call(call_of(run, step))
    next(steps)
    error = ConnectionError("last")

    commit = steps.throw(error)

    assert isinstance(commit, Commit)
    [row] = commit.calls
    assert row.status is CallStatus.FAILED
    assert row.failure is not None
    assert row.failure.exception_type == "builtins.ConnectionError"
    assert [attempt.number for attempt in commit.attempts] == [1]
    with pytest.raises(ConnectionError) as caught:
        steps.send(None)
    assert caught.value is error


def test_exit_of_a_body_is_no_outcome(run: Run) -> None:
    @checkpoint(retries=3)
    def step() -> None: ...

    steps = run_call(call_of(run, step))
    next(steps)

    with pytest.raises(SystemExit):
        steps.throw(SystemExit(1))


def test_run_that_must_stop_starts_no_further_body(run: Run) -> None:
    @checkpoint
    def step() -> None: ...

    call = call_of(run, step)
    run.request_cancel()

    with pytest.raises(CancelRequested):
        next(run_call(call))


def test_run_that_must_stop_during_a_delay_starts_no_further_attempt(run: Run) -> None:
    @checkpoint(retries=1)
    def step() -> None: ...

    steps = run_call(call_of(run, step))
    next(steps)
    steps.throw(ConnectionError())
    steps.send(None)
    run.request_cancel()

    with pytest.raises(CancelRequested):
        steps.send(None)


def test_cache_is_asked_before_the_body_runs(run: Run) -> None:
    @checkpoint(cache=True)
    def step() -> int:
        return 1

    steps = run_call(call_of(run, step))

    fetch = next(steps)
    assert isinstance(fetch, Fetch)
    assert isinstance(steps.send(fetch.operation()), Invoke)
    commit = steps.send(1)
    assert isinstance(commit, Commit)
    assert commit.calls[0].cache_key is not None
