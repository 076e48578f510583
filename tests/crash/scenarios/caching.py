"""Two runs of one flow, of which the second finds the results of the first."""

from __future__ import annotations

import kit

from kitaru import checkpoint, flow


@checkpoint(cache=True)
def look_up(word: str) -> str:
    kit.effect(f"look_up {word}")
    return word * 2


@checkpoint
def number(run: int) -> int:
    kit.effect(f"number {run}")
    return run


@flow
def translate(run: int) -> list[object]:
    return [look_up("a"), number(run), look_up("b")]


if __name__ == "__main__":
    kit.arm()
    for run in range(2):
        kit.start(translate, run).wait()
    kit.disarm()
