"""The test kit: run flows in tests, own the time, and see what crashes do to them.

`docs/testing.md` shows how. `pytest` gets its fixtures and options from `kitaru.testing.plugin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitaru.clock import use_clock
    from kitaru.faults import FAULT_POINTS
    from kitaru.testing.answers import ABORT, EXPIRE
    from kitaru.testing.clock import FakeClock
    from kitaru.testing.effects import Effect, EffectLog
    from kitaru.testing.flows import FlowRun, run_flow
    from kitaru.testing.kill import disarm, fail_at, kill_at
    from kitaru.testing.store import memory_store

# They are imported when they are first used: pytest imports this package in every project.
_HOMES = {
    "kitaru.clock": ("use_clock",),
    "kitaru.faults": ("FAULT_POINTS",),
    "kitaru.testing.answers": ("ABORT", "EXPIRE"),
    "kitaru.testing.clock": ("FakeClock",),
    "kitaru.testing.effects": ("Effect", "EffectLog"),
    "kitaru.testing.flows": ("FlowRun", "run_flow"),
    "kitaru.testing.kill": ("disarm", "fail_at", "kill_at"),
    "kitaru.testing.store": ("memory_store",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ABORT",
    "EXPIRE",
    "FAULT_POINTS",
    "Effect",
    "EffectLog",
    "FakeClock",
    "FlowRun",
    "disarm",
    "fail_at",
    "kill_at",
    "memory_store",
    "run_flow",
    "use_clock",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        message = f"module 'kitaru.testing' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
