"""Async, on the script's own loop: a question, a short sleep and a question."""

from __future__ import annotations

import kit
import person

import kitaru
from kitaru import checkpoint, flow


@checkpoint
async def work(step: str) -> str:
    kit.effect(step)
    return step


@flow
async def asking() -> str:
    first = await work("first")
    more = kit.got("more", await kitaru.wait.aio(schema=list[str], name="more"))
    await kitaru.sleep.aio(0.01)
    second = await work(f"{first} {more}")
    return second + kit.got("end", await kitaru.wait.aio(schema=str, name="end"))


if __name__ == "__main__":
    person.aplay(asking, {"more": person.says(["a", "b"]), "end": person.says("!")})
