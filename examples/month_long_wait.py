"""A month between two lines: the flow sleeps, asks, and does without an answer if none comes in time.

Run it, and the process ends at once: the execution sleeps in the store. After a month

    kitaru executions resume EXECUTION

goes on with it; the process that started it would do so by itself, if it still ran. `--fast` lives
through all of it in a second, with a clock that the program moves on.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Literal

import kitaru
from kitaru import FlowHandle, checkpoint, flow
from kitaru.testing import FakeClock, use_clock

MONTH, WEEK = timedelta(days=30), timedelta(days=7)


@checkpoint(type="tool_call")
def write_to(customer: str, text: str) -> str:
    return f"Dear {customer}, {text}."


@flow
def trial(customer: str) -> list[str]:
    first = write_to(customer, f"your month begins on {kitaru.now():%d %B}")
    kitaru.sleep(MONTH, name="the_month")
    choice = kitaru.wait(
        schema=Literal["stay", "leave"],
        name="choice",
        question=f"The month is over. What does {customer} want?",
        expires=WEEK,
        on_expire="leave",
    )
    thanks = "welcome" if choice == "stay" else "good-bye"
    return [first, write_to(customer, f"it is {kitaru.now():%d %B}: {thanks}")]


def until_it_waits_for(name: str, handle: FlowHandle[list[str]]) -> None:
    while handle.execution.status_reason != f"waiting for {name!r}":
        time.sleep(0.01)


def live_through_it() -> None:
    clock = FakeClock()  # stands at 1 January until someone moves it on
    with use_clock(clock):
        handle = trial.run("Ada")
        until_it_waits_for("the_month", handle)
        clock.advance(MONTH)
        until_it_waits_for("choice", handle)
        clock.advance(WEEK)
        print(*handle.wait(), sep="\n")


if __name__ == "__main__":
    if "--fast" in sys.argv:
        live_through_it()
    else:
        print(f"execution {trial.run('Ada').exec_id}")
