"""The attendant inside a process in which flows run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitaru.attendant import Attendant, Dispatcher, Expiry, Reaper, Timers
from kitaru.stacks import LocalStack

if TYPE_CHECKING:
    from kitaru.worker.local import LocalRunner

# A script that is over by then has looked after nobody, which leaves it as quick as it was.
_DELAY_SECONDS = 1.0
# A process that has work of its own does not start many others.
_MOST_LAUNCHES = 2


def embedded_attendant(runner: LocalRunner, *, always: bool = False) -> Attendant:
    """Return the attendant of a process in which flows run; it ends once none is left there.

    Args:
        runner: The runs of the process.
        always: It begins at once, and does not end by itself.
    """
    store, clock = runner.store, runner.services.clock
    return Attendant(
        (
            Reaper(store=store, clock=clock),
            Timers(store=store, clock=clock),
            Expiry(store=store, clock=clock),
            Dispatcher(
                store=store, clock=clock, stack=LocalStack(runner.settings), most=_MOST_LAUNCHES
            ),
        ),
        delay_seconds=0.0 if always else _DELAY_SECONDS,
        is_needed=None if always else lambda: _is_needed(runner),
    )


def _is_needed(runner: LocalRunner) -> bool:
    return bool(runner.in_flight()) or runner.services.watcher.expects_any()
