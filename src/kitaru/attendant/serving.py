"""An attendant as a process of its own: `kitaru up`."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

from kitaru.attendant.attendant import Attendant
from kitaru.attendant.dispatcher import Dispatcher
from kitaru.attendant.expiry import Expiry
from kitaru.attendant.instance import Instance, find_instance, only_instance
from kitaru.attendant.presence import this_process
from kitaru.attendant.pruner import Pruner
from kitaru.attendant.reaper import Reaper
from kitaru.attendant.timers import Timers
from kitaru.blobs import open_blobs
from kitaru.clock import SYSTEM_CLOCK
from kitaru.engine.owner import Owner
from kitaru.errors import KitaruBackendError, KitaruStateError
from kitaru.settings import masked_url
from kitaru.stacks import LocalStack, forget_runner_logs, start_detached
from kitaru.store import open_store

if TYPE_CHECKING:
    from kitaru.attendant.duty import Duty
    from kitaru.settings import Settings
    from kitaru.store.contract import Store

# A process that has not begun or ended by then never will.
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.05
DEFAULT_PROCESSES = 16
"""How many processes an attendant of its own runs for executions at once."""
# First come those who have waited for an attendant.
_PRUNE_DELAY_SECONDS = 5.0


def duties_of(settings: Settings, store: Store, processes: int) -> Sequence[Duty]:
    """Return what the attendant of a store does all the time, with so many processes at once."""
    clock = store.clock
    return (
        Reaper(store=store, clock=clock),
        Timers(store=store, clock=clock),
        Expiry(store=store, clock=clock),
        Dispatcher(store=store, clock=clock, stack=LocalStack(settings), most=processes),
    )


def pruner_of(settings: Settings, store: Store, stop: threading.Event) -> Pruner:
    """Return the duty that removes what is no longer kept; a pass ends soon once `stop` is set."""
    return Pruner(
        store=store,
        blobs=open_blobs(settings.artifact_store, access=settings.access),
        clock=store.clock,
        rules=settings.retention,
        tidy=functools.partial(forget_runner_logs, settings, store),
        rest=stop.wait,
    )


class Companion(Protocol):
    """What else the process that is a store's attendant does beside, such as answering over HTTP."""

    @property
    def url(self) -> str:
        """Where it is reached."""
        ...

    def start(self) -> None:
        """Begin, in a thread of its own."""
        ...

    def stop(self) -> None:
        """End what is at hand, and return once that is done; safe to repeat."""
        ...


def attend(
    settings: Settings,
    stop: threading.Event,
    *,
    log: str | None = None,
    processes: int = DEFAULT_PROCESSES,
    companion: Callable[[], Companion] | None = None,
    ready: Callable[[Instance], None] = lambda _: None,
) -> None:
    """Be the attendant of a store until `stop` is set.

    Args:
        settings: Which store.
        stop: Ends it, after the batch at hand.
        log: The file that this process writes to, for those who ask.
        processes: How many it runs for executions at once.
        companion: Makes what else this process does.
        ready: Called once it has begun.

    Raises:
        KitaruStateError: The store has one already.
        KitaruBackendError: The store cannot be opened.
    """
    refuse_second(settings)  # before the companion takes what the first one has, such as its port
    store = open_store(settings.store_url, access=settings.access)
    with contextlib.ExitStack() as ending:
        ending.callback(store.close)
        store.list_workers()  # a store that cannot be opened is told now, not tried for ever
        beside = None if companion is None else companion()
        if beside is not None:
            ending.callback(beside.stop)
        instance = Instance(
            owner=this_process(),
            pid=os.getpid(),
            started_at=SYSTEM_CLOCK.now(),
            log=log,
            url=None if beside is None else beside.url,
        )
        ending.enter_context(only_instance(settings, instance))
        # Each has a thread: a pass over the whole store is nothing that a lost run can wait for.
        attendants = (
            Attendant(duties_of(settings, store, processes)),
            Attendant((pruner_of(settings, store, stop),), delay_seconds=_PRUNE_DELAY_SECONDS),
        )
        for attendant in attendants:
            ending.callback(attendant.stop)
            attendant.start()
        if beside is not None:
            # Once more: it ends before others are told that there is no attendant.
            ending.callback(beside.stop)
            beside.start()
        ready(instance)
        stop.wait()


def refuse_second(settings: Settings) -> None:
    """Raise `KitaruStateError` if a store has an attendant of its own already."""
    if (found := find_instance(settings)) is not None:
        message = (
            f"the store {masked_url(settings.store_url)!r} has an attendant already: process {found.pid}."
            f" `kitaru status` shows it, `kitaru down` stops it."
        )
        raise KitaruStateError(message)


def start_in_background(
    settings: Settings,
    *,
    processes: int = DEFAULT_PROCESSES,
    command: Sequence[str] = ("kitaru.attendant",),
) -> Instance:
    """Start a process that is the attendant of a store, and return once it has begun.

    Args:
        settings: Which store.
        processes: How many it runs for executions at once.
        command: The module that is one, with arguments of its own.

    Raises:
        KitaruStateError: The store has one already.
        KitaruBackendError: The process has ended at once; the message says what it wrote.
    """
    refuse_second(settings)
    log = settings.config_dir / "attendant.log"
    began = log.stat().st_size if log.exists() else 0
    try:
        process = start_detached(
            settings,
            (
                *command,
                *("--log", str(log)),
                *("--processes", str(processes)),
            ),
            log,
        )
    except OSError as error:
        message = f"the attendant could not be started: {error}."
        raise KitaruBackendError(message) from error
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        found = find_instance(settings)
        if found is not None and found.pid == process.pid:
            return found
        time.sleep(_LOOK_SECONDS)
    process.kill()
    process.wait()
    message = f"the attendant could not be started: {_tail(log, began) or 'it says nothing'}"
    raise KitaruBackendError(message)


def stop_instance(settings: Settings) -> Instance | None:
    """End the attendant of a store, and return which process it was; None if there is none.

    Raises:
        KitaruBackendError: It does not end.
    """
    found = find_instance(settings)
    if found is None:
        return None
    owner = Owner.parse(found.owner)
    if owner is None or not owner.is_on_this_host() or owner.is_dead():
        message = (
            f"the attendant is process {found.pid} of another machine or container, where alone it can be"
            f" stopped."
        )
        raise KitaruBackendError(message)
    try:
        process = psutil.Process(found.pid)
        process.terminate()
    except psutil.NoSuchProcess:
        return found
    except psutil.AccessDenied as error:
        message = f"process {found.pid} belongs to another user, who alone can stop it."
        raise KitaruBackendError(message) from error
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        present = find_instance(settings)
        if present is None or present.pid != found.pid:
            return found
        time.sleep(_LOOK_SECONDS)
    message = f"process {found.pid} does not end. `kill -9 {found.pid}` ends it; nothing is lost."
    raise KitaruBackendError(message)


def _tail(log: Path, began: int) -> str:
    with log.open("rb") as file:
        file.seek(began)
        return file.read()[-2000:].decode(errors="replace").strip()
