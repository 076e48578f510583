"""Recover everything in a process of its own, as `kitaru executions recover` does. No scenario.

Where the flows of the case ask, their questions are answered meanwhile, and it ends when all are over.
"""

from __future__ import annotations

import os
import sys
import time

import kit
import person

from kitaru.worker import recover, wait_for

_PATIENCE_SECONDS = 50


def go_on(on_divergence: str | None = None) -> None:
    """Recover again and again what answers have made pending, until nothing is left."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    continued: set[str] = set()
    while True:
        for execution in recover(on_divergence=on_divergence):
            kit.append("continued", {"exec_id": execution.id})
            continued.add(execution.id)
        if not person.is_needed():
            break
        person.wake()
        assert time.monotonic() < deadline, "something is never over"
        time.sleep(0.01)
    for exec_id in continued:
        wait_for(exec_id)


if __name__ == "__main__":
    kit.arm()
    if "CRASH_TOGETHER" in os.environ:
        kit.append("ready", {})
        kit.pause("go")
    with person.in_time() as clock, person.at_work(clock):
        go_on(*sys.argv[1:])
    kit.disarm()
