"""Starts runs and comes to its last line while they have hardly begun. No scenario of the sweep."""

from __future__ import annotations

import asyncio

import kit

from kitaru import checkpoint, flow


@checkpoint
def work(number: int) -> int:
    kit.pause("gate")
    kit.effect(f"work {number}")
    return number


@flow
def threads() -> list[int]:
    kit.pause("gate")
    return [work.submit(number).result() for number in range(2)]


@flow
async def tasks() -> list[int]:
    await asyncio.to_thread(kit.pause, "gate")
    return [await asyncio.to_thread(work, 2), await work.submit(3)]


@flow
async def on_the_scripts_loop() -> int:
    await asyncio.sleep(0.01)
    return await work.submit(4)


async def main() -> None:
    kit.start(on_the_scripts_loop)
    await asyncio.sleep(0)


if __name__ == "__main__":
    kit.start(threads)
    kit.start(tasks)
    asyncio.run(main())
    kit.append("last line", {})
