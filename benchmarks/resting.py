"""What a process holds and uses: its memory, threads and open files, and its processor time at rest."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a process has at a moment.

    Attributes:
        rss: Bytes of memory that are its own or shared and in use.
        files: Open files, connections and pipes.
    """

    rss: int
    threads: int
    files: int


@dataclass(frozen=True, slots=True)
class Rest:
    """What a process uses while it has nothing to do.

    Attributes:
        seconds: For how long it was looked at.
        rss: The most bytes of memory that it had meanwhile.
        cpu_seconds: Processor time, of all its threads.
        threads: At the end.
        files: At the end.
    """

    seconds: float
    rss: int
    cpu_seconds: float
    threads: int
    files: int

    @property
    def cpu_share(self) -> float:
        """Of one core."""
        return self.cpu_seconds / self.seconds


def holdings(pid: int) -> Holdings:
    """Return what a process has now."""
    process = psutil.Process(pid)
    with process.oneshot():
        return Holdings(process.memory_info().rss, process.num_threads(), process.num_fds())


def watch_rest(pid: int, seconds: float = 30.0, *, every: float = 1.0) -> Rest:
    """Return what a process uses during so many seconds; nothing should be asked of it meanwhile."""
    process = psutil.Process(pid)
    began, before = time.monotonic(), process.cpu_times()
    most = process.memory_info().rss
    while (left := began + seconds - time.monotonic()) > 0:
        time.sleep(min(every, left))
        most = max(most, process.memory_info().rss)
    after, elapsed = process.cpu_times(), time.monotonic() - began
    last = holdings(pid)
    return Rest(
        seconds=elapsed,
        rss=most,
        cpu_seconds=max(0.0, (after.user - before.user) + (after.system - before.system)),
        threads=last.threads,
        files=last.files,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resting", description=__doc__)
    parser.add_argument("pid", type=int)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    print(json.dumps(asdict(watch_rest(given.pid, given.seconds))))


if __name__ == "__main__":
    main()
