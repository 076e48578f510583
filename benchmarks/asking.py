"""A process that starts executions which wait for an answer: see `measures/waiting.py`.

`python -m benchmarks.asking DIRECTORY COUNT AT_ONCE FILE`. After each tenth it prints a line of JSON: how
many wait by then and what the process holds. Then it stays until its standard input is closed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path

import kitaru
from benchmarks.resting import holdings
from kitaru import flow, settings
from kitaru.worker import LocalRun, local_runner

# The clock is the machine's, not the process': the other process's readings can be compared with it.


@flow
def waiting(file: str) -> None:
    kitaru.wait(name="go", timeout=0)
    with Path(file).open("a") as lines:
        lines.write(f"{kitaru.current_execution_id()} {time.monotonic()}\n")


def main() -> None:
    directory, count, at_once, file = sys.argv[1:]
    kitaru.configure(config_dir=directory)
    runner = local_runner(settings.current())
    in_flight: deque[LocalRun] = deque()
    every = max(1, int(count) // 10)
    tell(0)
    for number in range(1, int(count) + 1):
        exec_id = waiting.run(file).exec_id
        if (local := runner.find(exec_id)) is not None:
            in_flight.append(local)
        # It has left when this is done: as many as are at once may each have a thread.
        while len(in_flight) >= int(at_once) or (in_flight and number % every == 0):
            in_flight.popleft().finished.result()
        if number % every == 0:
            tell(number)
    sys.stdin.read()


def tell(number: int) -> None:
    held = {"waiting": number, "at": time.monotonic(), **asdict(holdings(os.getpid()))}
    print(json.dumps(held), flush=True)


if __name__ == "__main__":
    main()
