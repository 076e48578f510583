"""Sixteen threads, each of which starts one thing after the other and waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

WIDTH = 16
CHECKPOINTS = 10


def in_threads(work: Callable[[int], object], count: int) -> float:
    """Do something `count` times from sixteen threads; return the seconds for each time."""
    numbers = iter(range(count))
    lock = threading.Lock()
    failures: list[BaseException] = []

    def go_on() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None or failures:
                return
            try:
                work(number)
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
                failures.append(error)

    threads = [threading.Thread(target=go_on) for _ in range(WIDTH)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return (time.perf_counter() - began) / count
