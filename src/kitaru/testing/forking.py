"""Work in forked children: what a test has set up is there, and what becomes of it stays there.

A child has the memory of the test at this moment, as a fresh process would have it that has set the same
things up, and none of its threads.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from kitaru.errors import KitaruFeatureNotAvailableError

_REPORT, _OUTPUT = "report.json", "output.txt"
_POLL_SECONDS = 0.001
_SHOWN_CHARACTERS = 2_000

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        status: Its exit status, negative for a signal; None if it had to be ended.
        report: What its work returned, as JSON keeps it; None if it did not get there.
        problem: What it has said in place of a report.
    """

    status: int | None
    report: Report | None
    problem: str


def check_fork() -> None:
    """Refuse what needs `os.fork` where there is none.

    Raises:
        KitaruFeatureNotAvailableError: There is none.
    """
    if not hasattr(os, "fork"):
        message = (
            "runs are disturbed in forked processes, which this system does not have. Use the options"
            " `--kitaru-crash-sweep` and `--kitaru-always-replay` on Linux or macOS, or in WSL."
        )
        raise KitaruFeatureNotAvailableError(message)


def run_in_child(folder: Path, work: Callable[[], Report], *, timeout: float) -> Ended:
    """Return how a forked child ended that has done some work.

    Args:
        folder: Where it leaves its report and its output.
        work: What it does.
        timeout: Seconds after which it is ended.
    """
    report, output = folder / _REPORT, folder / _OUTPUT
    report.unlink(missing_ok=True)
    with warnings.catch_warnings():
        # Python warns of forks with threads, which may hold locks. Ours are forgotten in children.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_the_child(report, output, work)
    status = _wait_for(child, timeout)
    if report.exists():
        return Ended(status, json.loads(report.read_text("utf-8")), "")
    said = output.read_text("utf-8", "replace")[-_SHOWN_CHARACTERS:] if output.exists() else ""
    problem = said if status is not None else f"it was not over after {timeout:.0f} s.\n{said}"
    return Ended(status, None, problem.strip())


def _be_the_child(report: Path, output: Path, work: Callable[[], Report]) -> NoReturn:
    status = 1
    try:
        _redirect(output)
        text = json.dumps(work(), default=repr)
        partial = report.with_suffix(".partial")
        partial.write_text(text, "utf-8")
        partial.replace(report)
        status = 0
    except BaseException:  # noqa: BLE001 - told to the parent; nothing may get back into its stack
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Not `sys.exit`: what the parent does at its end is not the child's to do.
        os._exit(status)


def _redirect(output: Path) -> None:
    """Keep what the child writes apart from what the test does."""
    file = output.open("w", encoding="utf-8", errors="replace", buffering=1)
    for descriptor in (1, 2):
        os.dup2(file.fileno(), descriptor)
    sys.stdout = sys.stderr = file


def _wait_for(child: int, timeout: float) -> int | None:
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(_POLL_SECONDS)
    except BaseException:  # an interrupt, say
        _end(child)
        raise
    _end(child)
    return None


def _end(child: int) -> None:
    import signal

    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
