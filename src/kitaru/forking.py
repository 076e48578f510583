"""What happens to Kitaru's threads, locks and connections when its process forks.

A child has none of its parent's threads, may find any of its locks held, and would speak between its words
on a connection that both have. So whatever has some of these is told. Windows has no forks.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)


class Forgetful(Protocol):
    """What a child begins anew."""

    def forget(self) -> None:
        """Begin with nothing, as if just made."""
        ...


class Pausing(Protocol):
    """What must stand still while its process forks."""

    def pause(self) -> None:
        """Wait until nothing is under way, and let nothing begin."""
        ...

    def resume(self, *, is_child: bool) -> None:
        """Go on, in the parent and in the child."""
        ...


def forget_in_child(thing: Forgetful) -> None:
    """Have `thing.forget()` called in each forked child, for as long as somebody has it."""
    _forgetful.add(thing)


def pause_at_fork(thing: Pausing) -> None:
    """Have `thing` pause before each fork and go on after it, for as long as somebody has it."""
    _pausing.add(thing)


_forgetful: weakref.WeakSet[Forgetful] = weakref.WeakSet()
_pausing: weakref.WeakSet[Pausing] = weakref.WeakSet()
_paused: list[Pausing] = []
# Two threads may fork at once: what one has paused, the other must not let go on.
_forking = threading.Lock()


def _pause() -> None:
    _forking.acquire()
    for thing in list(_pausing):
        _paused.append(thing)
        _do(thing.pause)


def _resume() -> None:
    while _paused:
        thing = _paused.pop()
        _do(lambda thing=thing: thing.resume(is_child=False))
    _forking.release()


def _begin_child() -> None:
    global _forking  # noqa: PLW0603 - the parent's is held, by a thread that does not exist here
    _forking = threading.Lock()
    for forgetful in list(_forgetful):
        _do(forgetful.forget)
    while _paused:
        thing = _paused.pop()
        _do(lambda thing=thing: thing.resume(is_child=True))


def _do(step: Callable[[], None]) -> None:
    """Have one thing fail alone: the others must go on, and nobody could be told but by a log."""
    try:
        step()
    except Exception:  # Python would print it and drop it, together with all that comes after
        logger.exception("a fork has left something of Kitaru's out of order")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pause, after_in_parent=_resume, after_in_child=_begin_child)
