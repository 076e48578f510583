"""How often whoever waits for changes looks at the store.

Where the store tells of changes, they look when it does, and now and then in case it has not. Where it does
not, they look as often as it takes to be there in time. However much happens, nobody looks more often than
that: what comes close together is seen together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitaru.clock import Clock
    from kitaru.store.contract import Store, Watch

# What is told sooner after a look than this waits for so long.
_REST_SECONDS = 0.05
# What changes by the passing of time alone nobody tells.
_TOLD_SECONDS = 1.0


class Pace:
    """Says when it is time to look again. One thread waits; any may hurry it.

    Args:
        store: Which may tell of changes.
        clock: What the one who waits goes by. Of a time that a test moves no store can tell anything.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._event = threading.Event()
        self._is_resting = False
        self._is_hurried = False
        self._has_heard = False
        self._watch: Watch | None = None

    def begin(self) -> None:
        """Have the store tell of changes from now on."""
        if self._clock is self._store.clock:
            self._watch = self._store.watch(self.hear)

    def end(self) -> None:
        """Be told no longer."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    def hurry(self) -> None:
        """Have it be time at once."""
        self._is_hurried = True
        self._event.set()

    def hear(self) -> None:
        """Have it be time as soon as the last look was long enough ago."""
        # In this order: the one who waits looks at them in the other.
        self._has_heard = True
        if not self._is_resting:
            self._event.set()

    def wait(self, seconds: float, until_due: Callable[[], float] | None = None) -> bool:
        """Return once it is time to look.

        Args:
            seconds: How often to look while nobody tells; 0 for at once.
            until_due: Returns in how many seconds something is due that nobody tells.

        Returns:
            Whether it is time for no other reason than that the store has told of a change.
        """
        rest = min(seconds, _REST_SECONDS)
        self._is_resting = True
        self._event.wait(rest)
        self._is_resting = False
        if seconds > 0 and not self._is_hurried and not self._has_heard:
            if self._watch is not None and self._watch.is_live:
                due = _TOLD_SECONDS if until_due is None else min(_TOLD_SECONDS, until_due())
                seconds = due if seconds < _TOLD_SECONDS else seconds
            self._event.wait(max(0.0, seconds - rest))
        self._event.clear()
        has_heard, self._has_heard = self._has_heard, False
        is_hurried, self._is_hurried = self._is_hurried, False
        return has_heard and not is_hurried
