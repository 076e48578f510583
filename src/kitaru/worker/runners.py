"""The runners of this process: one for each store, always the same."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from kitaru.clock import present_clock
from kitaru.worker import interrupt
from kitaru.worker.local import LocalRun, LocalRunner

if TYPE_CHECKING:
    from kitaru.engine.run import Run
    from kitaru.settings import Settings


_runners: dict[tuple[object, ...], LocalRunner] = {}
_runners_lock = threading.Lock()


def local_runner(settings: Settings, *, keeps_stacks: bool = True) -> LocalRunner:
    """Return this process's runner for a store, always the same for the same settings.

    Whoever asks first decides whether flows that wait stay in the process (`Services.keeps_stacks`). A
    forked child gets runners of its own: threads and leases do not survive a fork.
    """
    clock = present_clock()
    key = (
        os.getpid(),
        id(clock),
        settings.store_url,
        settings.artifact_store,
        settings.access,
        settings.allow_pickle,
        settings.capture_logs,
        settings.lease_seconds,
        settings.lease_renew_seconds,
        settings.attendant,
    )
    runner = _runners.get(key)
    if runner is None:
        with _runners_lock:
            runner = _runners.get(key)
            if runner is None:
                runner = _runners[key] = LocalRunner(
                    settings, clock=clock, keeps_stacks=keeps_stacks
                )
                interrupt.watch(all_in_flight)
    return runner


def runner_of(run: Run) -> LocalRunner:
    """Return the runner that a run belongs to, whatever the settings are by now."""
    for runner in list(_runners.values()):
        if runner.services is run.services:
            return runner
    message = "a run belongs to no runner of this process"
    raise AssertionError(message)


def forget_runners(store_url: str) -> list[LocalRunner]:
    """Return this process's runners on a store, which others get no more; the caller closes them."""
    with _runners_lock:
        found = {key: r for key, r in _runners.items() if r.settings.store_url == store_url}
        for key in found:
            del _runners[key]
    return [runner for key, runner in found.items() if key[0] == os.getpid()]


def all_runners() -> list[LocalRunner]:
    """Return the runners of this process on all stores."""
    return [runner for key, runner in list(_runners.items()) if key[0] == os.getpid()]


def all_in_flight() -> list[LocalRun]:
    """Return the runs in flight on all stores of this process."""
    return [local for runner in all_runners() for local in runner.in_flight()]
