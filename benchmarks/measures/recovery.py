"""P5: from `recover()` to the first line of the first body that is not recorded.

An execution makes its calls and is killed in the next one's body. Each round recovers a copy of the store
that this leaves, in a fresh process.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measuring import KITARU, ROOT, Bench, Figure, Row, clean_environment


def interrupted_store(bench: Bench, calls: int) -> Path:
    """Return the directory of a store whose only execution was killed after so many calls."""
    directory = bench.new_directory()
    run_in_fresh_process("run", directory, calls)
    return directory


def run_in_fresh_process(what: str, directory: Path, calls: int = 0) -> list[float]:
    """Run `benchmarks.recovering` to its end and return the numbers that it printed."""
    recovers = {"BENCHMARK_RECOVERS": "1"} if what == "recover" else {}
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.recovering", what, str(directory), str(calls)],
        cwd=ROOT,
        env=clean_environment(**recovers),
        capture_output=True,
        text=True,
        check=False,
    )
    if what == "recover" and ended.returncode != 0:
        raise RuntimeError(f"the execution was not recovered:\n{ended.stderr}")
    return [float(word) for word in ended.stdout.split()]


def measure(bench: Bench) -> list[Row]:
    calls = bench.size.recorded[1]
    killed = interrupted_store(bench, calls)
    from_recover: list[float] = []
    from_start: list[float] = []
    for _ in range(bench.size.rounds):
        copy = bench.new_directory()
        shutil.copytree(killed, copy, dirs_exist_ok=True)
        began = time.monotonic()
        recover_called, body_began = run_in_fresh_process("recover", copy)
        from_recover.append(body_began - recover_called)
        from_start.append(body_began - began)
        shutil.rmtree(copy)
    return [
        Row(
            number="P5",
            work=f"recovery of {calls:,} recorded calls, from `recover()` to the first new body",
            at_most=1.0,
            figures={KITARU: Figure(from_recover)},
        ),
        Row(work="the same, from the start of the process", figures={KITARU: Figure(from_start)}),
    ]
