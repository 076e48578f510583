"""Sync checkpoints in an async flow: in threads beside each other, and submitted."""

from __future__ import annotations

import asyncio

import kit

from kitaru import checkpoint, flow


@checkpoint
def read(number: int) -> int:
    kit.effect(f"read {number}")
    return number


@checkpoint
async def send(number: int) -> int:
    kit.effect(f"send {number}")
    return number + 1


@flow
async def mixed() -> list[int]:
    numbers = await asyncio.gather(*[asyncio.to_thread(read, number) for number in range(3)])
    submitted = [read.submit(10), send.submit(20)]
    after = await send.submit(submitted[0], id="last")
    return [*numbers, *[await future for future in submitted], after]


if __name__ == "__main__":
    kit.play(mixed)
