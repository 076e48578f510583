"""A sleep that is slept in place, and one that the execution leaves the process for."""

from __future__ import annotations

import kit
import person

import kitaru
from kitaru import checkpoint, flow


@checkpoint
def work(step: str) -> str:
    kit.effect(step)
    return step


@flow
def sleeper() -> list[str]:
    first = work("first")
    kitaru.sleep(0.01, name="short")
    second = work("second")
    kitaru.sleep(86400, name="long")
    return [first, second, work("third")]


if __name__ == "__main__":
    person.play(sleeper, {"long": person.LATER})
