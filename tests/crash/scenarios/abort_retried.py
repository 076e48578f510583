"""A flow that fails of an aborted wait, is tried again, and asks again."""

from __future__ import annotations

import kit
import person

import kitaru
from kitaru import checkpoint, flow


@checkpoint
def work(step: str) -> str:
    kit.effect(step)
    return step


@flow(retries=1)
def stubborn() -> str:
    first = work("first")
    return work(f"{first} {kit.got('please', kitaru.wait(schema=str, name='please'))}")


if __name__ == "__main__":
    person.play(stubborn, {"please": person.aborts_then_says("well")})
