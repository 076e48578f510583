"""Workers that share a queue and ask about each item, so that chance decides which question stands where."""

from __future__ import annotations

import asyncio
import os

import kit
import person

import kitaru
from kitaru import checkpoint, flow

ITEMS = 4


@checkpoint
async def handle(item: int) -> int:
    await asyncio.sleep(os.urandom(1)[0] / 255 * 0.005)
    kit.effect(f"handle {item}")
    return item


async def work(queue: asyncio.Queue[int], results: dict[int, str]) -> None:
    while not queue.empty():
        await asyncio.sleep(os.urandom(1)[0] / 255 * 0.005)
        if not queue.empty():
            item = queue.get_nowait()
            await handle(item)
            answer = await kitaru.wait.aio(schema=str, question=f"item {item}")
            results[item] = kit.got(f"item {item}", answer)


@flow
async def queued() -> dict[int, str]:
    queue: asyncio.Queue[int] = asyncio.Queue()
    for item in range(ITEMS):
        queue.put_nowait(item)
    results: dict[int, str] = {}
    await asyncio.gather(work(queue, results), work(queue, results))
    return dict(sorted(results.items()))


if __name__ == "__main__":
    replies = {f"item {item}": person.says(f"of item {item}") for item in range(ITEMS)}
    person.play(queued, replies)
