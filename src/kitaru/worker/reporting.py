"""Failures that nobody looks at are told on stderr, with what to do about them."""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING

from kitaru.model import FailureRecord

if TYPE_CHECKING:
    from collections.abc import Hashable


class Observation:
    """Who may still look at how a run ended.

    A run's failure is *observed* when someone waited for it or asked for its result. If the last handle
    to it is gone, or the process ends, and nobody has, it is told.
    """

    def __init__(self, exec_id: str, flow: str) -> None:
        self._exec_id = exec_id
        self._flow = flow
        self._lock = threading.RLock()  # a finalizer may run while this thread holds it
        self._watchers = 0
        self._observed = False
        self._text: str | None = None

    def add_watcher(self, handle: Hashable) -> None:
        """Count on this handle's owner to look, as long as the handle exists."""
        with self._lock:
            self._watchers += 1
        weakref.finalize(handle, self._watcher_gone)

    def observe(self) -> None:
        """Note that someone has seen how the run ended, or is about to."""
        with self._lock:
            self._observed = True

    def failed(self, failure: FailureRecord) -> None:
        """Note that the flow failed."""
        name = failure.exception_type.rpartition(".")[2]
        self._ended(
            f"execution {self._exec_id} of flow {self._flow!r} failed with {name}: {failure.message}\n"
            f"  look at it: kitaru executions get {self._exec_id}\n"
            f"  retry it:   kitaru executions retry {self._exec_id}"
        )

    def broken(self, error: BaseException) -> None:
        """Note that the runner could not go on."""
        self._ended(
            f"execution {self._exec_id} of flow {self._flow!r} could not go on:"
            f" {type(error).__name__}: {error}\n"
            f"  what is recorded stays recorded; continue it with:"
            f" kitaru executions recover {self._exec_id}"
        )

    def _ended(self, text: str) -> None:
        with self._lock:
            self._text = text
            tell = self._watchers == 0
        if tell:
            self._tell()

    def _watcher_gone(self) -> None:
        with self._lock:
            self._watchers -= 1
            tell = self._watchers == 0
        if tell:
            self._tell()

    def _tell(self) -> None:
        with self._lock:
            text = None if self._observed else self._text
            self._text = None
        stream = sys.stderr
        if text is not None and stream is not None:
            stream.write(f"Kitaru: {text}\n")
            stream.flush()
