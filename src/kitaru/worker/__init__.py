"""Run executions in this process: start them, continue interrupted ones, wait for them."""

from __future__ import annotations

from kitaru.worker.local import LocalRun, LocalRunner
from kitaru.worker.recovery import (
    Interrupted,
    RunnerFacts,
    cancel_execution,
    find_interrupted,
    recover,
    retry_execution,
    runner_of_execution,
    start,
    wait_for,
)
from kitaru.worker.resuming import (
    answered,
    continue_detached,
    replay_execution,
    resume_execution,
)
from kitaru.worker.runners import local_runner

__all__ = [
    "Interrupted",
    "LocalRun",
    "LocalRunner",
    "RunnerFacts",
    "answered",
    "cancel_execution",
    "continue_detached",
    "find_interrupted",
    "local_runner",
    "recover",
    "replay_execution",
    "resume_execution",
    "retry_execution",
    "runner_of_execution",
    "start",
    "wait_for",
]
