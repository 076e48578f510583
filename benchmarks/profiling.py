"""Where the time goes: one measure's work under cProfile, in this process, with all its threads."""

from __future__ import annotations

import cProfile
import pstats
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.measures.recovery import interrupted_store
from benchmarks.measuring import ROOT, Bench, clean_environment

_SHOWN = 45
_OPERATIONS = {
    "p1": ("sequence", "async_sequence"),
    "p3": ("executions",),
    "p4": ("fan_out", "async_fan_out"),
    "growth": ("sequence",),
}
PROFILED = ("p5", "p6", *_OPERATIONS)
"""Measures whose work is done in one process."""


def show_profile(measure: str, bench: Bench) -> None:
    """Print what a measure's work spends its time on.

    The profiler makes Python code two to four times slower and leaves the disk as fast as it is, so the
    shares of calls into SQLite look smaller here than they are.
    """
    if measure == "p6":
        _show_imports()
    elif measure == "p5":
        calls = bench.size.recorded[1]
        directory = interrupted_store(bench, calls)
        _profile_in_fresh_process(directory, "recovery", calls)
    else:
        for operation in _OPERATIONS[measure]:
            count = bench.size.executions if operation == "executions" else bench.size.calls
            _profile_in_fresh_process(bench.new_directory(), operation, count)


def _show_imports() -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kitaru", "--help"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    slowest = sorted(lines[1:], key=lambda line: -int(line.split("|")[1]))
    print("\n".join([lines[0], *slowest[:_SHOWN]]))


def _profile_in_fresh_process(directory: Path, operation: str, count: int) -> None:
    subprocess.run(
        [sys.executable, "-m", "benchmarks.profiling", str(directory), operation, str(count)],
        cwd=ROOT,
        env=clean_environment(),
        check=True,
    )


class ThreadProfiler:
    """Profiles every thread that starts from now on."""

    def __init__(self) -> None:
        self._profiles: list[cProfile.Profile] = []
        former = threading.Thread.run
        profiles = self._profiles

        def profiled(self: threading.Thread) -> None:
            profile = cProfile.Profile()
            try:
                profile.enable()
            except ValueError:
                # From Python 3.12 on only one profiler is on at a time.
                former(self)
                return
            profiles.append(profile)
            try:
                former(self)
            finally:
                profile.disable()

        threading.Thread.run = profiled

    def clear(self) -> None:
        """Forget what has been seen so far."""
        for profile in self._profiles:
            profile.clear()

    def print(self) -> None:
        """Print where the time of all threads went, by own time and by cumulated time."""
        # `Stats` refuses the profile of a thread that has done nothing.
        statistics = pstats.Stats(*(profile for profile in self._profiles if profile.getstats()))
        statistics.strip_dirs()
        for order in ("tottime", "cumulative"):
            statistics.sort_stats(order).print_stats(_SHOWN)


def main() -> None:
    import kitaru
    from benchmarks import flows
    from benchmarks.subjects.kitaru import operations
    from kitaru.worker import recover

    directory, operation, count = sys.argv[1:]
    kitaru.configure(config_dir=directory)
    profiler = ThreadProfiler()
    if operation == "recovery":
        reached = threading.Event()
        # In place of the body that the execution died in.
        object.__setattr__(flows.last._spec, "function", lambda _: reached.set())  # pyright: ignore[reportPrivateUsage] - the body alone is exchanged
        began = time.perf_counter()
        recover()
        reached.wait()
    else:
        work = operations(directory)[operation]
        work(10)
        profiler.clear()
        began = time.perf_counter()
        work(int(count))
    seconds = time.perf_counter() - began
    print(f"\n{operation}: {seconds / int(count) * 1e6:.0f} µs each, with the profiler")
    profiler.print()


if __name__ == "__main__":
    main()
