"""A replay of a fan-out with one branch overridden; only that branch and the join run again."""

from __future__ import annotations

import asyncio
import os

import kit

from kitaru import checkpoint, flow


@checkpoint
async def fetch(number: int) -> int:
    await asyncio.sleep(os.urandom(1)[0] / 255 * 0.005)
    kit.effect(f"fetch {number}")
    return number


@checkpoint
async def parse(number: int) -> int:
    await asyncio.sleep(os.urandom(1)[0] / 255 * 0.005)
    kit.effect(f"parse {number}")
    return number + 100


@checkpoint
async def join(numbers: list[int]) -> int:
    kit.effect(f"join {numbers}")
    return sum(numbers)


async def branch(number: int) -> int:
    return await parse(await fetch(number))


@flow
async def gathered() -> int:
    return await join(list(await asyncio.gather(*map(branch, range(3)))))


if __name__ == "__main__":
    kit.replay(gathered, overrides={"checkpoint.1/fetch#1": 7})
