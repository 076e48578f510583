"""How a process that serves is asked to stop."""

from __future__ import annotations

import _thread
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at the first SIGTERM or Ctrl-C; the second ends the process at once.

    A background job of a script ignores Ctrl-C, which means others then; it stays so.
    """
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        nonlocal asked
        if asked:
            # Whoever looks finds a dead process and takes its executions back.
            sys.stderr.write("Kitaru: ending now. What is recorded stays recorded.\n")
            sys.stderr.flush()
            os._exit(128 + number)
        asked = True
        # Not here: this thread may hold the very lock that `stop` needs.
        _thread.start_new_thread(stop, ())

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, on_signal)
