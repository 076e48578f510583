"""A flow that writes down which process is in which of its bodies: see `killing.py`.

It is told through the environment what to do, so that one of its executions can be copied for another task.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from kitaru import checkpoint, flow

LINES, STEPS = "BENCHMARK_LINES", "BENCHMARK_STEPS"
_BODY_SECONDS = 0.02

# The clock is the machine's, not the process': other processes' readings can be compared with it.


@checkpoint
def step(number: int) -> int:
    with Path(os.environ[LINES]).open("a") as lines:
        lines.write(f"{os.getpid()} {time.monotonic()}\n")
    time.sleep(_BODY_SECONDS)
    return number


@flow
def stepping() -> None:
    for number in range(int(os.environ[STEPS])):
        step(number)


if __name__ == "__main__":
    print(stepping.run().wait())
