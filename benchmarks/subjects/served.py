"""The child's side: wait for an order on standard input, do it, answer with a number of seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

Operation = Callable[[int], float]
"""Does something so many times and returns the seconds that each took."""


def serve(operations: Mapping[str, Operation]) -> None:
    """Carry out orders such as `sequence 1000`, one a line, until the parent closes the pipe."""
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, count = line.split()
        print(operations[name](int(count)), file=answers, flush=True)
