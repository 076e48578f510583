"""`run` an execution that kills its process, or `recover` it: see `measures/recovery.py`."""

from __future__ import annotations

import sys
import time

import kitaru
from benchmarks import flows
from kitaru.worker import recover


def main() -> None:
    what, directory, calls = sys.argv[1:]
    kitaru.configure(config_dir=directory)
    if what == "run":
        flows.interrupted.run(int(calls)).wait()
        return
    # The clock is the machine's, not the process': the parent's readings can be compared with it.
    print(time.monotonic(), flush=True)
    recover()


if __name__ == "__main__":
    main()
