"""A bounded set of threads that exist only as long as there is work for them.

`concurrent.futures.ThreadPoolExecutor` refuses work once the main thread has ended, but a script's flows
go on after its last line (semantics S1.5); hence these few lines.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)

Job = Callable[[], None]

# A thread that finds nothing to do for this long ends; its successor costs 50 µs.
_IDLE_SECONDS = 2.0


class Pool:
    """Runs jobs in order of arrival on at most `size` daemon threads. A job must not raise."""

    def __init__(self, size: int, *, name: str) -> None:
        self._size = size
        self._name = name
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._idle: list[_Seat] = []
        self._threads = 0
        self._closed = False

    def put(self, job: Job) -> None:
        """Run a job as soon as a thread is free. Jobs put after `close` are dropped."""
        with self._lock:
            if self._closed:
                return
            if self._idle:
                seat = self._idle.pop()
                seat.job = job
                seat.baton.release()
                return
            if self._threads >= self._size:
                self._jobs.append(job)
                return
            self._threads += 1
            number = self._threads
        threading.Thread(
            target=self._work, args=(job,), name=f"{self._name}-{number}", daemon=True
        ).start()

    def close(self) -> None:
        """Drop jobs that have not started and let idle threads end."""
        with self._lock:
            self._closed = True
            self._jobs.clear()
            idle, self._idle = self._idle, []
        for seat in idle:
            seat.baton.release()

    def _work(self, first: Job) -> None:
        seat = _Seat()
        job: Job | None = first
        while job is not None:
            try:
                job()
            except BaseException:
                # Against its contract; a thread that died of it would still be counted.
                logger.exception("a job failed")
            job = self._next(seat)

    def _next(self, seat: _Seat) -> Job | None:
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
            if self._closed:
                self._threads -= 1
                return None
            seat.job = None
            self._idle.append(seat)
        if not seat.baton.acquire(timeout=_IDLE_SECONDS):
            with self._lock:
                if seat in self._idle:
                    self._idle.remove(seat)
                    self._threads -= 1
                    return None
            # A job was handed over in the moment the time ran out; its baton is on the way.
            seat.baton.acquire()
        if seat.job is None:
            with self._lock:
                self._threads -= 1
        return seat.job


class _Seat:
    """Where an idle thread waits to be handed its next job."""

    __slots__ = ("baton", "job")

    def __init__(self) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.job: Job | None = None
