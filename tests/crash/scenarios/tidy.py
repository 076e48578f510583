"""Make executions, prune them, back the store up or restore it: `tidy.py make|prune|backup|restore`.

No scenario of the sweep.
"""

from __future__ import annotations

import sys
from datetime import timedelta

import kit

import kitaru
from kitaru import KitaruClient, checkpoint, flow, logs
from kitaru.client import RetentionRule
from kitaru.engine import feed


@checkpoint
def draw(size: int) -> bytes:
    kitaru.save("half", bytes(size // 2))
    return bytes(size)


@flow
def part(size: int) -> int:
    return len(draw(size))


@flow
def whole(size: int) -> bytes:
    part.run(size).wait()
    return draw(size + 1)


@flow
def talkative() -> None:
    # More lines than one step of a pruning takes.
    for number in range(1_200):
        sys.stdout.write(f"{number}\n")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "make":
        for size in (100_000, 110_000, 100_000, 120_000):
            whole.run(size).wait()
        talkative.run().wait()
        talkative.run().wait()
        logs.flush()
        feed.flush(20.0)
    else:
        upkeep = KitaruClient().upkeep
        kit.arm()
        if what == "prune":
            upkeep.prune([RetentionRule(keep=1)], grace=timedelta())
        elif what == "backup":
            upkeep.back_up(rest[0])
        else:
            upkeep.restore(rest[0], force=True)
        kit.disarm()
