"""Strike at a named fault point, or at a checkpoint: kill the process, or raise."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from kitaru import faults
from kitaru.engine.calls import Call
from kitaru.errors import KitaruUsageError
from kitaru.settings_rules import did_you_mean

_BODY = "call.before_body"


class Strike:
    """What is to happen at a point; armed until `disarm`, or until the end of a `with` block.

    Args:
        point: The fault point.
        target: The checkpoint's name or the call's id; None for every visit of the point.
        act: Kills or raises.
        occurrence: At which visit it begins.
        times: For how many visits.
    """

    def __init__(
        self,
        point: str,
        target: str | None,
        act: Callable[[], None],
        *,
        occurrence: int,
        times: int,
    ) -> None:
        for option, value in (("occurrence", occurrence), ("times", times)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:  # pyright: ignore[reportUnnecessaryIsInstance] - from user code
                message = f"expected `{option}` to be a whole number, 1 or more, got: {value!r}"
                raise KitaruUsageError(message)
        self._point = point
        self._target = target
        self._act = act
        self._visits = range(occurrence, occurrence + times)
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self.reached = 0

    def visit(self, point: str, subject: object) -> None:
        """Strike if this is the visit to strike at."""
        if point != self._point:
            return
        if self._target is not None and not self._means(subject):
            return
        with self._lock:
            self.reached += 1
            due = self.reached in self._visits
        if due:
            self._act()

    def _means(self, subject: object) -> bool:
        if not isinstance(subject, Call):
            return False
        names = {subject.call_id, subject.spec.name}
        self._seen |= names
        return self._target in names

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self in _armed:
            _armed.remove(self)
            _arm()
        if error is None and self.reached < self._visits.start:
            raise KitaruUsageError(self._never_struck())

    def _never_struck(self) -> str:
        what = self._target or self._point
        seen = tuple(sorted(self._seen))
        hint = did_you_mean(what, seen)
        if self.reached:
            came = (
                f"it came there {self.reached} times, and was to fail from {self._visits.start} on."
            )
        elif seen:
            came = f"these came there: {', '.join(seen)}."
        else:
            came = "nothing came there."
        return f"`fail_at({what!r})` has not struck while it was armed: {came}{hint}"


def kill_at(point: str, *, occurrence: int = 1) -> None:
    """Kill this process with SIGKILL when it reaches `point` for the `occurrence`-th time.

    Where there is no SIGKILL (Windows) the process ends without any clean-up all the same.

    Raises:
        KitaruUsageError: There is no such fault point.
    """
    _check_point(point)
    _add(Strike(point, None, die, occurrence=occurrence, times=1))


def die() -> None:
    """End this process at once, without any clean-up."""
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()  # the signal may be delivered to another thread first
    os._exit(137)


def fail_at(
    where: str,
    error: BaseException | type[BaseException],
    *,
    occurrence: int = 1,
    times: int = 1,
) -> Strike:
    """Raise `error` where a checkpoint's body is about to run, or at a fault point.

    The body does not run then, and the call has failed as if the body had raised: its retry policy
    decides what comes next. Armed from now on; as a context manager until the end of the block, which
    complains if nothing came to be struck.

    Args:
        where: A checkpoint's name, the id of one call such as `charge-2`, or a point of `FAULT_POINTS`.
        error: What to raise.
        occurrence: At which visit to begin; every attempt of a call is one.
        times: How many visits to strike.

    Raises:
        KitaruUsageError: There is no such fault point.
    """

    def fail() -> None:
        raise error

    if where in faults.FAULT_POINTS:
        point, target = where, None
    elif where.partition(".")[0] in _NOUNS and "." in where:
        _check_point(where)
        raise AssertionError
    else:
        point, target = _BODY, where
    return _add(Strike(point, target, fail, occurrence=occurrence, times=times))


def disarm() -> None:
    """Strike nowhere any more."""
    _armed.clear()
    faults.arm(None)


def armed() -> Sequence[Strike]:
    """Return what is armed, in the order in which it was."""
    return tuple(_armed)


def watch_points(visit: Callable[[str, object], None] | None) -> None:
    """Have every visit of a fault point told, before anything strikes; `None` takes it back."""
    global _watch  # noqa: PLW0603 - a fault point is reached in any thread
    _watch = visit
    _arm()


_NOUNS = {point.partition(".")[0] for point in faults.FAULT_POINTS}
_armed: list[Strike] = []
_watch: Callable[[str, object], None] | None = None


def _check_point(point: str) -> None:
    if point not in faults.FAULT_POINTS:
        hint = did_you_mean(point, tuple(faults.FAULT_POINTS))
        message = (
            f"unknown fault point {point!r}.{hint} There are: {', '.join(faults.FAULT_POINTS)}."
        )
        raise KitaruUsageError(message)


def _add(strike: Strike) -> Strike:
    _armed.append(strike)
    _arm()
    return strike


def _arm() -> None:
    if not _armed and _watch is None:
        faults.arm(None)
        return

    def visit(point: str, subject: object) -> None:
        if _watch is not None:
            _watch(point, subject)
        for strike in tuple(_armed):
            strike.visit(point, subject)

    faults.arm_subjects(visit)
