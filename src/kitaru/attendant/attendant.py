"""One thread that does an attendant's duties in turn, each at its own pace."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from kitaru.attendant.duty import Duty
from kitaru.errors import KitaruBackendError

logger = logging.getLogger(__name__)

# After a failure, a duty's next pass begins after this long, then after twice as long each time.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
# Looked at this often whether the attendant is still needed.
_IDLE_SECONDS = 5.0


class Attendant:
    """Does duties on a store until it is stopped, or as long as it is needed.

    A duty that fails is logged once, tried again after ever longer pauses, and logged once more when it
    works again. The others go on meanwhile; if what fails is the store, the first of them tells for all.

    Args:
        duties: What to do.
        delay_seconds: How long after `start` the first pass begins.
        is_needed: Asked every few seconds; once it says no, the thread ends. `start` begins anew.
    """

    def __init__(
        self,
        duties: Sequence[Duty],
        *,
        delay_seconds: float = 0.0,
        is_needed: Callable[[], bool] | None = None,
    ) -> None:
        self.duties = tuple(duties)
        self._delay = delay_seconds
        self._is_needed = is_needed
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._failures: dict[str, int] = {}
        self._told: set[str] = set()

    def start(self) -> None:
        """Begin, in a thread of its own; nothing happens if it has begun."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stop = threading.Event()
            thread = threading.Thread(
                target=self._attend, args=(self._stop,), name="kitaru-attendant", daemon=True
            )
            thread.start()
            self._thread = thread

    def stop(self) -> None:
        """End after the batch at hand, and return once it is done."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def run_once(self) -> bool:
        """Do one batch of each duty now; return whether there may be more to do at once."""
        pauses = [self._pass(duty) for duty in self.duties]
        return 0.0 in pauses

    def _attend(self, stop: threading.Event) -> None:
        began = time.monotonic()
        due = dict.fromkeys(self.duties, began + self._delay)
        asked_at = began
        while not stop.wait(max(0.0, min(due.values()) - time.monotonic())):
            for duty, moment in due.items():
                if moment <= time.monotonic() and not stop.is_set():
                    due[duty] = time.monotonic() + self._pass(duty)
            if self._is_needed is not None and time.monotonic() - asked_at >= _IDLE_SECONDS:
                asked_at = time.monotonic()
                if self._ends(self._is_needed):
                    return

    def _ends(self, is_needed: Callable[[], bool]) -> bool:
        # Under the lock: whoever calls `start` meanwhile finds either a thread that goes on or none.
        with self._lock:
            if is_needed() or self._thread is not threading.current_thread():
                return False
            self._thread = None
            return True

    def _pass(self, duty: Duty) -> float:
        """Do one batch of a duty; return in how many seconds the next one is due."""
        try:
            has_more = duty.run_once()
        except Exception as error:  # noqa: BLE001 - told and tried again; the other duties go on
            return self._failed(duty, error)
        self._failures.pop(duty.name, None)
        if duty.name in self._told:
            self._told.discard(duty.name)
            logger.warning("%s works again", duty.name, extra={"action": duty.name})
        return 0.0 if has_more else duty.interval_seconds

    def _failed(self, duty: Duty, error: Exception) -> float:
        count = self._failures.get(duty.name, 0)
        self._failures[duty.name] = count + 1
        if count == 0 and not (self._told and isinstance(error, KitaruBackendError)):
            self._told.add(duty.name)
            # Of a store out of reach the message says all; anything else is a mistake of Kitaru's own.
            trace = None if isinstance(error, KitaruBackendError) else error
            logger.warning(
                "%s cannot be done, trying again: %s",
                duty.name,
                error,
                exc_info=trace,
                extra={"action": duty.name},
            )
        pause = _FIRST_PAUSE_SECONDS * 2 ** min(count, 10)
        return max(duty.interval_seconds, min(pause, _LONGEST_PAUSE_SECONDS))
