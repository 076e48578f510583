"""Interrupt flows at a chosen line and go on with them, in one process."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from kitaru import settings
from kitaru.authoring.flow import Flow
from kitaru.authoring.handle import FlowHandle
from kitaru.engine.context import current_scope
from kitaru.engine.journal import OnDivergence
from kitaru.model import (
    AttemptRecord,
    CallRecord,
    EventRecord,
    ExecutionRecord,
    ExecutionStatus,
    Resolution,
    WaitRecord,
    WaitStatus,
)
from kitaru.store.contract import Store
from kitaru.testing import disarm, fail_at
from kitaru.worker import runners
from kitaru.worker.local import LocalRun, LocalRunner, claim_here, retry_here
from kitaru.worker.runners import local_runner

PATIENCE_SECONDS = 60


class Interruption:
    """Has the flow that runs here stop at its next Kitaru call, once.

    What is recorded then is exactly what came before this line in program order, which a kill of the
    process cannot promise; `tests/crash` kills.
    """

    def __init__(self) -> None:
        self.is_due = True

    def __call__(self) -> None:
        if self.is_due:
            self.is_due = False
            scope = current_scope.get()
            assert scope is not None
            scope.run.release()


def end_runs(store_url: str) -> None:
    """Wait for what runs on a store in this process, and forget who ran it."""
    disarm()
    settings.forget()
    for key, found in list(runners._runners.items()):
        if found.settings.store_url == store_url and key[0] == os.getpid():
            for run in found.in_flight():
                run.finished.exception(PATIENCE_SECONDS)
            found.close()
            found.store.close()
            del runners._runners[key]


def runner() -> LocalRunner:
    return local_runner(settings.current())


def store() -> Store:
    return runner().store


def leave(handle: FlowHandle[Any]) -> None:
    """Wait until a run has left this process, however it ended."""
    # The handle's own, because the runner forgets a run a moment before the run is told to be over.
    local = runner().find(handle.exec_id) or handle._local
    if local is not None:
        local.finished.exception(PATIENCE_SECONDS)


def go_on(
    flow: Flow[..., Any],
    handle: FlowHandle[Any],
    *,
    code_changed: bool = False,
    on_divergence: str | None = None,
) -> LocalRun:
    """Continue a run that was interrupted, perhaps with another flow's code."""
    leave(handle)
    claimed = claim_here(runner(), handle.exec_id)
    assert claimed is not None, store().get_execution(handle.exec_id)
    return _start(flow, claimed, code_changed=code_changed, on_divergence=on_divergence)


def retry(flow: Flow[..., Any], handle: FlowHandle[Any], *, code_changed: bool = False) -> LocalRun:
    """Retry a failed run."""
    leave(handle)
    claimed = retry_here(runner(), handle.exec_id)
    assert claimed is not None
    return _start(flow, claimed, code_changed=code_changed)


def _start(
    flow: Flow[..., Any],
    claimed: tuple[ExecutionRecord, float],
    *,
    code_changed: bool,
    on_divergence: str | None = None,
) -> LocalRun:
    code = replace(flow.code, code_hash="changed") if code_changed else flow.code
    policy = None if on_divergence is None else OnDivergence(on_divergence)
    return runner().start(claimed[0], code, claimed[1], on_divergence=policy)


def calls(handle: FlowHandle[Any]) -> dict[str, CallRecord]:
    return {call.position: call for call in store().list_calls(handle.exec_id)}


def upstreams(handle: FlowHandle[Any]) -> dict[str, tuple[str, ...]]:
    return {position: call.upstreams for position, call in calls(handle).items()}


def attempts(handle: FlowHandle[Any]) -> list[AttemptRecord]:
    return store().list_attempts(handle.exec_id)


def events(handle: FlowHandle[Any], kind: str = "divergence") -> list[EventRecord]:
    return [event for _, event in store().list_events(handle.exec_id) if event.kind == kind]


def execution(handle: FlowHandle[Any]) -> ExecutionRecord:
    return store().get_execution(handle.exec_id)


def fail_to_write(error: BaseException, *, occurrence: int = 1, times: int = 1) -> None:
    """Have this process's writes to its store fail, from the given one on, whatever kind of store it is."""
    has_database = urlsplit(settings.current().store_url).scheme in {"sqlite", "postgresql"}
    point = "commit.inside" if has_database else "request.before_send"
    fail_at(point, error, occurrence=occurrence, times=times)


def join(thread: threading.Thread) -> None:
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def open_waits(handle: FlowHandle[Any]) -> dict[str, WaitRecord]:
    """Return the open waits of a run by their ids."""
    found = store().list_waits(handle.exec_id)
    return {wait.wait_id: wait for wait in found if wait.status is WaitStatus.OPEN}


def until(condition: Callable[[], Any]) -> Any:
    """Return what a condition returns once it is true; what runs elsewhere needs a moment for it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)
    return found


def asked(handle: FlowHandle[Any], wait_id: str = "wait") -> WaitRecord:
    """Wait until a run has asked a question, and return it."""
    return until(lambda: open_waits(handle).get(wait_id))


def parked(handle: FlowHandle[Any]) -> ExecutionRecord:
    """Wait until a run waits and holds nothing, and return its row."""
    until(lambda: execution(handle).status is ExecutionStatus.WAITING)
    return execution(handle)


def answer(
    handle: FlowHandle[Any], value: object = None, wait_id: str = "wait", *, abort: bool = False
) -> WaitRecord:
    """Answer a run's open question as another process would: past every check and every hint."""
    status = WaitStatus.ABORTED if abort else WaitStatus.ANSWERED
    text = None if abort else json.dumps(value)
    resolution = Resolution(status=status, answer=text, by="ann@desk", via="test")
    position = asked(handle, wait_id).position
    now = runner().services.clock.now()
    return store().resolve_wait(handle.exec_id, position, resolution, now=now)


def forget(handle: FlowHandle[Any]) -> None:
    """Have this process forget an execution that has left it, as another process would not know it."""
    leave(handle)
    until(lambda: runner().services.watcher.expects(handle.exec_id))
    runner().services.watcher._away.pop(handle.exec_id, None)
