"""Whether runs are to be disturbed in this process, as pytest's options ask for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitaru.testing.flows import Running


@dataclass
class Disturbance:
    """What each `run_flow` goes through before its own run.

    Attributes:
        crash_sweep: It is killed at every point that it comes to, and recovered.
        always_replay: It is entered again from the top after every recorded call.
        limit: How many points of a run to kill it at, spread evenly; None for all.
        reports: What came of it.
    """

    crash_sweep: bool = False
    always_replay: bool = False
    limit: int | None = None
    reports: list[dict[str, object]] = field(default_factory=list[dict[str, object]])

    def disturb(self, running: Running) -> None:
        """Raise an `AssertionError` if a run does not stand what it is to go through."""
        from kitaru.testing.trials import stand_trial

        __tracebackhide__ = True  # pytest shows the test's own line

        stand_trial(running, self)


_present: Disturbance | None = None


def present_disturbance() -> Disturbance | None:
    """Return what runs go through at present, if anything."""
    return _present


def disturb_runs(disturbance: Disturbance | None) -> None:
    """Have runs go through something from now on; `None` ends it."""
    global _present  # noqa: PLW0603 - runs start in any thread
    _present = disturbance
