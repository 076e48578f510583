"""Two long-lived tasks that take their work from a queue, so that chance decides who does what."""

from __future__ import annotations

import asyncio
import os

import kit

from kitaru import checkpoint, flow


@checkpoint
async def handle(item: int) -> int:
    await asyncio.sleep(os.urandom(1)[0] / 255 * 0.01)
    kit.effect(f"handle {item}")
    return item * 2


async def work(queue: asyncio.Queue[int], results: dict[int, int]) -> None:
    while not queue.empty():
        await asyncio.sleep(os.urandom(1)[0] / 255 * 0.002)
        if not queue.empty():
            item = queue.get_nowait()
            results[item] = await handle(item)


@flow
async def queued() -> dict[int, int]:
    queue: asyncio.Queue[int] = asyncio.Queue()
    for item in range(6):
        queue.put_nowait(item)
    results: dict[int, int] = {}
    await asyncio.gather(work(queue, results), work(queue, results))
    return dict(sorted(results.items()))


if __name__ == "__main__":
    kit.play(queued)
