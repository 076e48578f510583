"""Run executions in this process: start them, continue interrupted ones, wait for them."""

from __future__ import annotations

from kitaru.attendant.presence import find_workers, list_present
from kitaru.fleet import PresentWorker, RunnerFacts
from kitaru.stacks import forget_runner_logs, runner_log
from kitaru.worker.interrupt import was_interrupted
from kitaru.worker.local import LocalRun, LocalRunner
from kitaru.worker.recovery import (
    Interrupted,
    cancel_execution,
    find_interrupted,
    is_running_here,
    recover,
    retry_execution,
    runner_of_execution,
    start,
    start_detached,
    wait_for,
)
from kitaru.worker.resuming import (
    answered,
    continue_detached,
    replay_execution,
    resume_execution,
)
from kitaru.worker.runners import local_runner
from kitaru.worker.serving import DEFAULT_CONCURRENCY, DEFAULT_DRAIN_SECONDS, serve
from kitaru.worker.sweep import SweepResult, sweep
from kitaru.worker.terminal import is_interactive, register_display

__all__ = [
    "DEFAULT_CONCURRENCY",
    "DEFAULT_DRAIN_SECONDS",
    "Interrupted",
    "LocalRun",
    "LocalRunner",
    "PresentWorker",
    "RunnerFacts",
    "SweepResult",
    "answered",
    "cancel_execution",
    "continue_detached",
    "find_interrupted",
    "find_workers",
    "forget_runner_logs",
    "is_interactive",
    "is_running_here",
    "list_present",
    "local_runner",
    "recover",
    "register_display",
    "replay_execution",
    "resume_execution",
    "retry_execution",
    "runner_log",
    "runner_of_execution",
    "serve",
    "start",
    "start_detached",
    "sweep",
    "wait_for",
    "was_interrupted",
]
