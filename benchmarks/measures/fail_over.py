"""P9: from the end of a runner to the next body of its execution in another process."""

from __future__ import annotations

import shlex
import signal

from benchmarks.killing import strike_runners
from benchmarks.measuring import KITARU, Bench, Figure, Row


def measure(bench: Bench) -> list[Row]:
    trials = bench.size.kills
    return [
        Row(
            number="P9",
            work=f"{struck}, to the next body elsewhere; `{shlex.join(bench.runner[1:])}`",
            at_most=at_most,
            is_slowest=True,
            figures={
                KITARU: Figure(strike_runners(bench.runner, strike, trials, bench.new_directory()))
            },
        )
        for struck, strike, at_most in (
            ("a runner killed on this machine", signal.SIGKILL, 2.0),
            ("a runner stopped, whose lease must run out", signal.SIGSTOP, 10.0),
        )
    ]
