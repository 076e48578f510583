"""Submitted calls in threads, which commit in one transaction when they finish together."""

from __future__ import annotations

import contextlib
import threading

import kit

from kitaru import checkpoint, flow

COUNT = 6
together = threading.Barrier(COUNT)


@checkpoint
def square(number: int) -> int:
    kit.effect(f"square {number}")
    # After a crash some of the six are recorded and do not come.
    with contextlib.suppress(threading.BrokenBarrierError):
        together.wait(timeout=0.2)
    return number * number


@checkpoint
def add(numbers: list[int], extra: int) -> int:
    kit.effect("add")
    return sum(numbers) + extra


@flow
def sum_of_squares() -> int:
    squares = [square.submit(number) for number in range(COUNT)]
    total = add.submit(squares, extra=1)
    return total.result()


if __name__ == "__main__":
    kit.play(sum_of_squares)
