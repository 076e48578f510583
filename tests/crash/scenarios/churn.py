"""Run flows that keep the same few large values, or prune beside them: `churn.py run|prune SECONDS`.

No scenario of the sweep.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from datetime import timedelta

import kit

import kitaru
from kitaru import KitaruClient, checkpoint, flow
from kitaru.client import RetentionRule
from kitaru.errors import KitaruBackendError, KitaruNotFoundError

VALUES = 60


def value(number: int) -> bytes:
    return f"{number:08}".encode() * 5_000


@checkpoint
def make(number: int) -> bytes:
    kitaru.save("again", value((number + 1) % VALUES))
    return value(number)


@checkpoint(cache=True)
def look_up(number: int) -> bytes:
    return value(number)


@flow
def small(content: bytes, number: int) -> bytes:
    return look_up(number) + make(number)[:10]


@flow
def large(content: bytes, number: int) -> bytes:
    small.run(content, number).wait()
    return make(number)


if __name__ == "__main__":
    what, seconds = sys.argv[1], float(sys.argv[2])
    end = time.monotonic() + seconds
    count = 0
    if what == "run":
        chosen = random.Random(os.getpid())
        while time.monotonic() < end:
            numbers = chosen.choices(range(VALUES), k=2)
            started = chosen.choice([small, large])
            handle = started.run(value(numbers[0]), numbers[1])
            handle.wait()
            count += 1
            if chosen.random() < 0.1:
                try:
                    again = started.replay(handle.exec_id)
                except (KitaruNotFoundError, KitaruBackendError):
                    continue  # it is pruned already, or is so while its record is read
                again.wait()
        kit.append("ran", {"runs": count})
    else:
        upkeep = KitaruClient().upkeep
        gone, blobs = 0, 0
        while time.monotonic() < end:
            done = upkeep.prune([RetentionRule(keep=3)], grace=timedelta(seconds=0.5))
            gone += done.executions
            blobs += done.blobs
            threading.Event().wait(0.02)
        kit.append("pruned", {"executions": gone, "blobs": blobs})
