"""Run executions in this process: start them, continue interrupted ones, wait for them."""

from __future__ import annotations

from kitaru.worker.local import LocalRun, LocalRunner
from kitaru.worker.recovery import (
    Interrupted,
    cancel_execution,
    find_interrupted,
    recover,
    retry_execution,
    start,
    wait_for,
)
from kitaru.worker.runners import local_runner

__all__ = [
    "Interrupted",
    "LocalRun",
    "LocalRunner",
    "cancel_execution",
    "find_interrupted",
    "local_runner",
    "recover",
    "retry_execution",
    "start",
    "wait_for",
]
