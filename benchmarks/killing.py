"""How long until an execution goes on elsewhere when its runner is struck down.

`python -m benchmarks.killing [--strike STOP] [--trials N] -- COMMAND...`: the command starts a runner that
is there for all flows of `benchmarks.steps`, such as `kitaru worker benchmarks.steps`. In each trial two of
them are started on a new store, which `KITARU_CONFIG_PATH` names. One gets an execution and, in the middle
of it, is killed (KILL), which others on the machine can see, or stopped (STOP), which they can only tell
from its silence.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from benchmarks.claiming import pending_copy
from benchmarks.measuring import ROOT, clean_environment
from benchmarks.seeding import PROJECT
from benchmarks.steps import LINES, STEPS
from kitaru.model import ExecutionFilter
from kitaru.settings_rules import sqlite_url
from kitaru.store import open_store

_RUNNERS = 2
_SETTLE_SECONDS = 2.0  # until both runners have come up
_STEPS = 100_000  # more than anybody waits for
_BEFORE = 5  # bodies before the runner is struck
_PATIENCE_SECONDS = 60.0

Line = tuple[int, float]
"""Which process began a body, and when."""


def strike_runners(
    command: Sequence[str], strike: signal.Signals, trials: int, directory: Path
) -> list[float]:
    """Return, for each trial, the seconds from the strike to the next body in another process.

    Args:
        command: Starts a runner.
        strike: What the runner that has the execution gets: SIGKILL or SIGSTOP.
        trials: How many.
        directory: For their stores, which go with each trial.
    """
    template = Path(tempfile.mkdtemp(prefix="template-", dir=directory))
    subprocess.run(
        [sys.executable, "-m", "benchmarks.steps"],
        cwd=ROOT,
        env=_environment(template, steps=0),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    found: list[float] = []
    for _ in range(trials):
        store = Path(tempfile.mkdtemp(prefix="trial-", dir=directory))
        shutil.copytree(template, store, dirs_exist_ok=True)
        found.append(_trial(command, strike, store))
        shutil.rmtree(store)
    shutil.rmtree(template)
    return found


def _environment(directory: Path, *, steps: int) -> dict[str, str]:
    return clean_environment(
        **{"KITARU_CONFIG_PATH": str(directory), LINES: str(directory / "lines"), STEPS: str(steps)}
    )


def _trial(command: Sequence[str], strike: signal.Signals, directory: Path) -> float:
    lines = directory / "lines"
    lines.touch()
    with ExitStack() as stack:
        stack.enter_context(_ended_bodies(lines))
        for _ in range(_RUNNERS):
            stack.enter_context(_runner(command, directory))
        time.sleep(_SETTLE_SECONDS)
        _create_pending(directory)
        seen = _await(lines, lambda seen: len(seen) >= _BEFORE, command)
        victim = seen[-1][0]
        struck = time.monotonic()
        psutil.Process(victim).send_signal(strike)
        seen = _await(lines, lambda seen: any(pid != victim for pid, _ in seen), command)
        return next(moment for pid, moment in seen if pid != victim) - struck


@contextmanager
def _runner(command: Sequence[str], directory: Path) -> Generator[None]:
    """Start a runner and end it with the block, with all that it has started."""
    with (directory / "runners.log").open("a") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment(directory, steps=_STEPS),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for child in children:
                _kill(child.pid)
        process.wait()


@contextmanager
def _ended_bodies(lines: Path) -> Generator[None]:
    """End with the block whoever has had a body, in case no runner is its parent."""
    try:
        yield
    finally:
        for pid in {pid for pid, _ in _read(lines)}:
            _kill(pid)


def _kill(pid: int) -> None:
    try:
        psutil.Process(pid).kill()
    except psutil.NoSuchProcess:
        return


def _create_pending(directory: Path) -> None:
    """Create an execution of the flow that nobody runs yet."""
    store = open_store(sqlite_url(directory / "kitaru.db"))
    [template] = store.list_executions(ExecutionFilter(project=PROJECT), limit=1)
    store.commit([pending_copy(template)])
    store.close()


def _await(
    lines: Path, is_enough: Callable[[list[Line]], bool], command: Sequence[str]
) -> list[Line]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        seen = _read(lines)
        if is_enough(seen):
            return seen
        time.sleep(0.01)
    log = (lines.parent / "runners.log").read_text()
    raise RuntimeError(
        f"the execution did not go on within {_PATIENCE_SECONDS:.0f} s; runners:"
        f" {' '.join(command)}\n{log}"
    )


def _read(lines: Path) -> list[Line]:
    whole = lines.read_text().rpartition("\n")[0]
    pairs = (line.split() for line in whole.splitlines())
    return [(int(pid), float(moment)) for pid, moment in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.killing", description=__doc__)
    parser.add_argument("--strike", choices=("KILL", "STOP"), default="KILL")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("command", nargs="+", help="starts a runner")
    given = parser.parse_args()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    strike = signal.Signals[f"SIG{given.strike}"]
    with tempfile.TemporaryDirectory(prefix="killing-", dir=build) as directory:
        found = sorted(strike_runners(given.command, strike, given.trials, Path(directory)))
    print(" ".join(f"{seconds:.2f}" for seconds in found))
    print(f"median {found[len(found) // 2]:.2f} s, slowest {found[-1]:.2f} s")


if __name__ == "__main__":
    main()
