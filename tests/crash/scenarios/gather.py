"""Async tasks that finish in random order, on a loop of the flow's own."""

from __future__ import annotations

import asyncio
import os

import kit

from kitaru import checkpoint, flow


@checkpoint
async def fetch(number: int) -> int:
    await asyncio.sleep(os.urandom(1)[0] / 255 * 0.01)
    kit.effect(f"fetch {number}")
    return number


@checkpoint
async def parse(number: int) -> int:
    await asyncio.sleep(os.urandom(1)[0] / 255 * 0.01)
    kit.effect(f"parse {number}")
    return number + 100


@checkpoint
async def join(numbers: list[int]) -> int:
    kit.effect("join")
    return sum(numbers)


async def branch(number: int) -> int:
    return await parse(await fetch(number))


@flow
async def gathered() -> int:
    numbers = await asyncio.gather(*[branch(number) for number in range(4)])
    return await join(numbers)


if __name__ == "__main__":
    kit.play(gathered)
