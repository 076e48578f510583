"""The flows that are measured. They take the time themselves, so that only the calls count."""

from __future__ import annotations

import os
import queue
import signal
import time

from benchmarks.crowd import CHECKPOINTS
from kitaru import checkpoint, flow


@checkpoint
def step(i: int) -> int:
    return i + 1


@checkpoint
async def astep(i: int) -> int:
    return i + 1


@flow
def sequence(count: int) -> float:
    """Return the seconds that `count` calls took, one after the other."""
    i = 0
    began = time.perf_counter()
    for _ in range(count):
        i = step(i)
    return time.perf_counter() - began


@flow
async def async_sequence(count: int) -> float:
    i = 0
    began = time.perf_counter()
    for _ in range(count):
        i = await astep(i)
    return time.perf_counter() - began


@flow
def one_step(i: int) -> int:
    return step(i)


@flow
def some_steps(i: int) -> int:
    for _ in range(CHECKPOINTS):
        i = step(i)
    return i


@flow
def fan_out(count: int, width: int) -> float:
    began = time.perf_counter()
    step.map(range(count), max_concurrency=width).result()
    return time.perf_counter() - began


@flow
async def async_fan_out(count: int, width: int) -> float:
    began = time.perf_counter()
    await astep.map(range(count), max_concurrency=width)
    return time.perf_counter() - began


orders: dict[int, queue.SimpleQueue[int]] = {}
answers: queue.SimpleQueue[float] = queue.SimpleQueue()


@flow
def grown(calls: int) -> None:
    """Make `calls` calls, then so many more as are ordered, until 0 are."""
    i = 0
    for _ in range(calls):
        i = step(i)
    answers.put(0.0)
    while count := orders[calls].get():
        began = time.perf_counter()
        for _ in range(count):
            i = step(i)
        answers.put(time.perf_counter() - began)


@checkpoint
def last(i: int) -> int:
    """End the process as `kill -9` does or, when it is recovered, tell when that got here."""
    now = time.monotonic()
    if os.environ.get("BENCHMARK_RECOVERS"):
        print(now, flush=True)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
    return i


@flow
def interrupted(calls: int) -> int:
    i = 0
    for _ in range(calls):
        i = step(i)
    return last(i)
