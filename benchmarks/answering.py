"""A process whose flows wait for answers from another process: see `measures/answers.py`."""

from __future__ import annotations

import sys
import time

import kitaru
from kitaru import flow

# The clock is the machine's, not the process': the other process's readings can be compared with it.


@flow
def asking(patience: float) -> float:
    kitaru.wait(name="go", timeout=patience)
    return time.monotonic()


def main() -> None:
    directory, patience, count = sys.argv[1:]
    kitaru.configure(config_dir=directory)
    for _ in range(int(count)):
        handle = asking.run(float(patience))
        print(handle.exec_id, flush=True)
        print(handle.wait(), flush=True)


if __name__ == "__main__":
    main()
