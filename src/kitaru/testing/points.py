"""The points of a run: counting its visits of them, and ending the process at one."""

from __future__ import annotations

import collections
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kitaru.engine.calls import Call
from kitaru.faults import FAULT_POINTS
from kitaru.testing.clock import FakeClock
from kitaru.testing.kill import armed, die

if TYPE_CHECKING:
    from kitaru.clock import Clock

# What a flow's own run comes to. Killing inside of a transaction is killing before it, and the rest is
# the store's and the command line's.
_NOUNS = {"execution", "call", "attempt", "child", "wait", "answer", "outcome"}
_NOTE = "note.json"

Point = tuple[str, str, int]  # the fault point, the call's id, at which visit of both


class PointCounter:
    """Counts the visits of fault points, and kills this process at one of them."""

    def __init__(
        self, target: Point | None = None, before: Callable[[], None] | None = None
    ) -> None:
        self.points: list[Point] = []
        self._target = target
        self._before = before
        self._lock = threading.Lock()
        self._visits: collections.Counter[tuple[str, str]] = collections.Counter()

    def visit(self, point: str, subject: object) -> None:
        """Count a visit."""
        if point.partition(".")[0] not in _NOUNS:
            return
        call = subject.call_id if isinstance(subject, Call) else ""
        with self._lock:
            self._visits[point, call] += 1
            reached = (point, call, self._visits[point, call])
            self.points.append(reached)
            if reached == self._target:
                if self._before is not None:
                    self._before()
                die()


def leave_note(folder: Path, clock: Clock | None) -> None:
    """Write down what a fresh process cannot know: how late it is, and what has struck already."""
    note = {
        "now": clock.now() if isinstance(clock, FakeClock) else None,
        "reached": [strike.reached for strike in armed()],
    }
    (folder / _NOTE).write_text(json.dumps(note), "utf-8")


def take_note(folder: Path, clock: Clock | None) -> None:
    """Go on from what `leave_note` wrote down in the process that was killed."""
    note = json.loads((folder / _NOTE).read_text("utf-8"))
    if isinstance(clock, FakeClock):
        clock.advance_to(note["now"])
    for strike, reached in zip(armed(), note["reached"], strict=True):
        strike.reached = reached


def spread(points: list[Point], limit: int | None) -> list[Point]:
    """Return so many of the points, evenly spread, the first and the last among them."""
    if limit is None or len(points) <= limit:
        return points
    if limit == 1:
        return points[:1]
    return [points[round(number * (len(points) - 1) / (limit - 1))] for number in range(limit)]


def told(point: Point) -> str:
    """Return a point in words."""
    name, call, number = point
    of = f" of {call!r}" if call else ""
    again = f", visit {number}" if number > 1 else ""
    return f"{name}{of}{again} ({FAULT_POINTS[name]})"


def summed_up(problem: str, at: list[Point]) -> str:
    """Return in a line what was found, and where."""
    more = f" and {len(at) - 1} more" if len(at) > 1 else ""
    name, call, _ = at[0]
    return f"{problem}: {name}{f' of {call!r}' if call else ''}{more}"
