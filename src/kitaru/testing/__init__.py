"""The test kit: a clock that tests own, and the death of a process at a named point."""

from __future__ import annotations

from kitaru.clock import use_clock
from kitaru.faults import FAULT_POINTS
from kitaru.testing.clock import FakeClock
from kitaru.testing.kill import disarm, fail_at, kill_at

__all__ = ["FAULT_POINTS", "FakeClock", "disarm", "fail_at", "kill_at", "use_clock"]
