"""The end of a process with runs in flight: Ctrl-C, and a script that has no more lines.

The first Ctrl-C asks running flows to stop at their next boundary, where they are left resumable; the
second ends the process. A script's end waits for its flows, in a hook that runs before the interpreter
shuts its thread pools down, because flows may still need them.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitaru.worker.local import LocalRun

_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass(slots=True)
class _State:
    in_flight: Callable[[], list[LocalRun]] | None = None
    interrupted: bool = False
    installed: bool = False
    former: object = None


# One per process, as signals and the interpreter's end are.
_state = _State()


def watch(in_flight: Callable[[], list[LocalRun]]) -> None:
    """Wait for these runs when the interpreter ends."""
    if _state.in_flight is None:
        _state.in_flight = in_flight
        # Private, but what the standard library itself uses to run before its pools close: a flow may
        # still need them. `atexit` comes after that, which is better than not to wait at all. The hooks
        # run last in, first out, so the pools' own, which comes with their module, must be there first.
        importlib.import_module("concurrent.futures.thread")
        register = getattr(threading, "_register_atexit", atexit.register)
        register(_wait_for_all)


def install() -> None:
    """Handle Ctrl-C from now on, if this is the main thread, which alone may say so.

    Called for every run that starts; the first after an interrupt begins anew.
    """
    if _state.in_flight is not None and len(_state.in_flight()) <= 1:
        _state.interrupted = False
    if _state.installed or threading.current_thread() is not threading.main_thread():
        return
    former = signal.getsignal(signal.SIGINT)
    if former in (signal.SIG_IGN, None):
        return  # A background job of a shell, or a handler that Python cannot see: leave it.
    _state.former = former
    signal.signal(signal.SIGINT, _on_interrupt)
    _state.installed = True


def disown() -> None:
    """Leave Ctrl-C to this process's own handler from now on."""
    _state.installed = True


def was_interrupted() -> bool:
    """Whether Ctrl-C has asked the runs of this process to stop."""
    return _state.interrupted


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    running = _state.in_flight() if _state.in_flight is not None else []
    if not running:
        _state.interrupted = False
        if callable(_state.former):
            _state.former(number, frame)
            return
        raise KeyboardInterrupt
    if _state.interrupted:
        _say("Interrupted again: ending now. What is recorded stays recorded.")
        os._exit(_EXIT_INTERRUPTED)
    _state.interrupted = True
    _say(f"Interrupted: {_prospect(running)}. Press Ctrl-C again to end at once.")
    for local in running:
        local.run.release(hold=True)


def _prospect(running: Sequence[LocalRun]) -> str:
    """Return what becomes of runs that are asked to stop: those that wait have nothing to stop."""
    waiting = [local for local in running if local.run.parking.is_parked]
    busy = [local for local in running if local not in waiting]
    parts: list[str] = []
    if busy:
        parts.append(
            f"{_names(busy)} will stop at the next checkpoint and can be continued with"
            f" `kitaru executions recover`"
        )
    if waiting:
        goes, which = ("goes", waiting[0].exec_id) if len(waiting) == 1 else ("go", "ID")
        parts.append(
            f"{_names(waiting)} {goes} on waiting without this process, for what `kitaru executions why"
            f" {which}` tells, with how to answer"
        )
    return "; ".join(parts)


def _names(runs: Sequence[LocalRun]) -> str:
    names = ", ".join(f"{local.flow} ({local.exec_id})" for local in runs[:3])
    return f"{names} and {len(runs) - 3} more" if len(runs) > 3 else names


def _wait_for_all() -> None:
    while _state.in_flight is not None and (running := _state.in_flight()):
        local = running[0]
        loop = local.run.loop
        try:
            if loop is not None and not loop.is_running() and not loop.is_closed():
                # The script has stopped the loop that its flow runs on (`run_until_complete`).
                loop.run_until_complete(_over(local))
            else:
                # In slices, so that the main thread gets to handle signals on every platform.
                local.finished.exception(timeout=0.5)
        except TimeoutError:
            continue


async def _over(local: LocalRun) -> None:
    await asyncio.wait((asyncio.wrap_future(local.finished),))


def _say(text: str) -> None:
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"\nKitaru: {text}\n")
        stream.flush()
