"""Async flows: different checkpoints at the same time, and time limits.

`asyncio.gather`, `TaskGroup` and `create_task` are used as anywhere else. However the branches race,
after a crash each result comes back on the call that it belongs to.
"""

from __future__ import annotations

import asyncio

from kitaru import checkpoint, flow


@checkpoint
async def ask_model(question: str) -> str:
    await asyncio.sleep(0.02)
    return f"an opinion on {question}"


@checkpoint
async def search(question: str) -> list[str]:
    await asyncio.sleep(0.01)
    return [f"page {number} about {question}" for number in (1, 2)]


@checkpoint(timeout=0.05, retries=1)  # per attempt; an async body is cancelled when time is up
async def ask_slow_model(question: str) -> str:
    await asyncio.sleep(3600)
    return f"wisdom on {question}"


async def second_opinion(question: str) -> str:
    try:
        return await ask_slow_model(question)
    except TimeoutError:
        return "no second opinion"


@flow
async def answer(question: str) -> list[str]:
    opinion, pages = await asyncio.gather(ask_model(question), search(question))
    async with asyncio.TaskGroup() as group:
        second = group.create_task(second_opinion(question))
        details = [group.create_task(ask_model(page)) for page in pages]
    return [opinion, second.result(), *(detail.result() for detail in details)]


async def main() -> None:
    handle = answer.run("bees")
    for line in await handle:
        print(line)
    for call in handle.execution.checkpoints:
        print(f"  {call.call_id}: {call.status}")


if __name__ == "__main__":
    asyncio.run(main())
