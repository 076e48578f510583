"""Kills its runner every time. No scenario of the sweep."""

from __future__ import annotations

import os
import signal

import kit

from kitaru import checkpoint, flow


@checkpoint
def die() -> None:
    kit.effect("die")
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


@flow(max_recoveries=2)
def deadly() -> None:
    die()


if __name__ == "__main__":
    kit.start(deadly).wait()
