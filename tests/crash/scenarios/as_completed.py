"""Submitted calls whose results are processed in whatever order they come."""

from __future__ import annotations

import concurrent.futures
import os
import time

import kit

from kitaru import checkpoint, flow


@checkpoint
def fetch(number: int) -> int:
    kit.effect(f"fetch {number}")
    time.sleep(os.urandom(1)[0] / 255 * 0.01)
    return number


@checkpoint
def process(number: int) -> int:
    kit.effect(f"process {number}")
    return number * 10


@flow
def race() -> list[int]:
    futures = [fetch.submit(number) for number in range(4)]
    results = [process(future.result()) for future in concurrent.futures.as_completed(futures)]
    return sorted(results)


if __name__ == "__main__":
    kit.play(race)
