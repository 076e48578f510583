"""The attendant inside a process in which flows run."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

from kitaru.store.contract import Company

if TYPE_CHECKING:
    from kitaru.attendant import Attendant, Duty
    from kitaru.worker.local import LocalRunner

# A script that is over by then has looked after nobody, which leaves it as quick as it was.
_DELAY_SECONDS = 1.0
# A process that has work of its own does not start many others.
_MOST_LAUNCHES = 4
_REAP_SECONDS = 0.5
_DISPATCH_SECONDS = 0.2
_WAKE_SECONDS = 0.25
_EXPIRE_SECONDS = 0.5
# Hundreds of processes that share a store look so much less often than those of one machine. That a process
# of this machine has died nobody else can see before its leases run out.
_SHARED_PACE = 4.0
_REAP_ELSEWHERE_SECONDS = 1.0
_DISPATCH_ELSEWHERE_SECONDS = 2.0
# What the rules of the settings let go is gone soon enough if the process lives that long.
_PRUNE_DELAY_SECONDS = 60.0


class Attending:
    """Looks after the other executions of a runner's store, while there are runs in its process.

    Args:
        runner: The runner.
    """

    def __init__(self, runner: LocalRunner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._attendants: tuple[Attendant, ...] = ()
        self._closing = threading.Event()

    def begin(self) -> None:
        """Look after them until nothing runs here any more; nothing happens if that has begun."""
        # Whoever owns the time in a test decides what is due.
        is_owned = self._runner.services.clock is not self._runner.store.clock
        if not self._runner.settings.attendant or is_owned:
            return
        if self._closing.is_set():
            return
        if not self._attendants:
            with self._lock:
                self._attendants = self._attendants or _attendants(self._runner, self._closing)
        for attendant in self._attendants:
            attendant.start()

    def begin_for_good(self) -> None:
        """Look after them at once and until `stop`, whatever runs here."""
        if not self._runner.settings.attendant:
            return
        self.stop()
        with self._lock:
            self._closing = threading.Event()
            self._attendants = _attendants(self._runner, self._closing, always=True)
        for attendant in self._attendants:
            attendant.start()

    def stop(self) -> None:
        """Look after them no longer, and return when the batch at hand is done."""
        self._closing.set()
        for attendant in self._attendants:
            attendant.stop()


def _attendants(
    runner: LocalRunner, stop: threading.Event, *, always: bool = False
) -> tuple[Attendant, ...]:
    from kitaru.attendant import Attendant, Dispatcher, Expiry, Pruner, Reaper, Timers
    from kitaru.stacks import LocalStack, forget_runner_logs

    store, clock, settings = runner.store, runner.services.clock, runner.settings
    is_needed = None if always else lambda: _is_needed(runner)
    is_alone = store.company is Company.ONE_MACHINE
    slowly = 1.0 if is_alone else _SHARED_PACE
    reaper = Reaper(
        store=store,
        clock=clock,
        held=lambda: _held(runner),
        takes_expired=store.company is not Company.ATTENDED,
        interval_seconds=_REAP_SECONDS if is_alone else _REAP_ELSEWHERE_SECONDS,
    )
    dispatcher = Dispatcher(
        store=store,
        clock=clock,
        stack=LocalStack(settings),
        # What belongs to other projects may need another environment than this process has.
        project=settings.project,
        most=_MOST_LAUNCHES,
        interval_seconds=_DISPATCH_SECONDS if is_alone else _DISPATCH_ELSEWHERE_SECONDS,
    )
    duties: list[Duty] = [reaper, dispatcher]
    if store.company is not Company.ATTENDED:
        duties += [
            Timers(store=store, clock=clock, interval_seconds=_WAKE_SECONDS * slowly),
            Expiry(store=store, clock=clock, interval_seconds=_EXPIRE_SECONDS * slowly),
        ]
    watching = Attendant(
        duties,
        delay_seconds=0.0 if always else _DELAY_SECONDS,
        is_needed=is_needed,
    )
    if not settings.retention or store.company is Company.ATTENDED:
        return (watching,)
    pruner = Pruner(
        store=store,
        blobs=runner.services.values.blobs,
        clock=clock,
        rules=settings.retention,
        rest=stop.wait,
        tidy=functools.partial(forget_runner_logs, settings, store),
    )
    return watching, Attendant((pruner,), delay_seconds=_PRUNE_DELAY_SECONDS, is_needed=is_needed)


def _is_needed(runner: LocalRunner) -> bool:
    return bool(runner.in_flight()) or runner.services.watcher.expects_any()


def _held(runner: LocalRunner) -> list[str]:
    return [run.exec_id for run in runner.services.leases.runs()]
