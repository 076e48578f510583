"""What happens to Kitaru's threads, locks and connections when its process forks.

A child has none of its parent's threads, may find any of its locks held, and would speak between its words
on a connection that both have. So whatever has some of these is told. Windows has no forks.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


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


def _pause() -> None:
    for thing in list(_pausing):
        thing.pause()
        _paused.append(thing)


def _resume(*, is_child: bool) -> None:
    if is_child:
        for thing in list(_forgetful):
            thing.forget()
    while _paused:
        _paused.pop().resume(is_child=is_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_pause,
        after_in_parent=lambda: _resume(is_child=False),
        after_in_child=lambda: _resume(is_child=True),
    )
