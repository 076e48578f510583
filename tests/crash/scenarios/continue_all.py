"""Recover everything in a process of its own, as `kitaru executions recover` does. No scenario."""

from __future__ import annotations

import os
import sys

import kit

from kitaru.worker import recover, wait_for

if __name__ == "__main__":
    kit.arm()
    if "CRASH_TOGETHER" in os.environ:
        kit.append("ready", {})
        kit.pause("go")
    options = {"on_divergence": sys.argv[1]} if len(sys.argv) > 1 else {}
    for execution in recover(**options):
        kit.append("continued", {"exec_id": execution.id})
        wait_for(execution.id)
    kit.disarm()
