"""Where executions run. Every stack starts the same command: `python -m kitaru.worker --once EXEC_ID`."""

from __future__ import annotations

from kitaru.stacks.contract import Stack
from kitaru.stacks.local import LocalStack, forget_runner_logs, runner_log, runner_logs
from kitaru.stacks.processes import start_detached

__all__ = [
    "LocalStack",
    "Stack",
    "forget_runner_logs",
    "runner_log",
    "runner_logs",
    "start_detached",
]
