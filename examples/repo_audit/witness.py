"""What the demo adds to the audit: evidence of each body that ran, and time to interrupt them.

Two variables of the environment switch it on; without them nothing here does anything.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import kitaru

FILE_VARIABLE = "AUDIT_WITNESS_FILE"
PACE_VARIABLE = "AUDIT_PACE_SECONDS"

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Effect:
    """A body has begun to run: which call's, and in which process."""

    call_id: str
    pid: int


def witnessed(body: Callable[P, R]) -> Callable[P, R]:
    """Leave a line on disk whenever the body of a checkpoint begins, and then think for a while.

    The line stands for what cannot be taken back: money spent on a model, a mail sent.
    """

    @functools.wraps(body)
    def with_witness(*args: P.args, **kwargs: P.kwargs) -> R:
        call = kitaru.current_call()
        if call is not None and (path := os.environ.get(FILE_VARIABLE)):
            _append(Path(path), Effect(call.call_id, os.getpid()))
        if pace := os.environ.get(PACE_VARIABLE):
            time.sleep(float(pace))
        return body(*args, **kwargs)

    return with_witness


def read_effects(path: Path) -> list[Effect]:
    """Return the lines left so far, in the order in which they were written."""
    if not path.exists():
        return []
    return [Effect(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def _append(path: Path, effect: Effect) -> None:
    # One write of a short line to a file opened for appending is not torn by other threads, and
    # after fsync it is as durable as Kitaru's own records: neither can claim more than happened.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{json.dumps(asdict(effect))}\n".encode())
        os.fsync(file)
    finally:
        os.close(file)
