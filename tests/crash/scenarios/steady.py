"""Rounds of calls, each of which begins when the test says so: `steady.py ROUNDS`.

No scenario of the sweep.
"""

from __future__ import annotations

import sys

import kit

from kitaru import checkpoint, flow

WIDTH = 4


@checkpoint
def begin(number: int) -> int:
    kit.effect(f"begin {number}")
    kit.pause(f"go {number}")
    return number


@checkpoint
def square(number: int) -> int:
    kit.effect(f"square {number}")
    return number * number


@checkpoint
def add(total: int, more: list[int]) -> bytes:
    kit.effect(f"add {total}")
    # So large that it goes beside the record.
    return str(total + sum(more)).encode().rjust(40_000)


@flow(max_recoveries=1000)
def steady(rounds: int) -> int:
    total = 0
    for number in range(rounds):
        first = begin(number) * WIDTH
        squares = [square.submit(first + place) for place in range(WIDTH)]
        total = int(add(total, [one.result() for one in squares]))
    return total


if __name__ == "__main__":
    kit.append("result", {"result": kit.start(steady, int(sys.argv[1])).wait()})
