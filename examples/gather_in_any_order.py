"""Different checkpoints that finish in another order every time: kill it whenever you like.

However often it is killed and recovered, each result is the one that belongs to its input.
"""

from __future__ import annotations

import asyncio
import random

from kitaru import checkpoint, flow


@checkpoint
async def shout(word: str) -> str:
    await asyncio.sleep(random.random() / 4)
    return word.upper()


@checkpoint
async def reverse(word: str) -> str:
    await asyncio.sleep(random.random() / 4)
    return word[::-1]


@checkpoint
async def double(word: str) -> str:
    await asyncio.sleep(random.random() / 4)
    return word * 2


@flow
async def play(words: list[str]) -> list[str]:
    changes = (shout, reverse, double)
    once = await asyncio.gather(*(change(word) for word in words for change in changes))
    return await asyncio.gather(*(change(word) for word in once for change in changes))


if __name__ == "__main__":
    handle = play.run(["bee", "sea", "key"])
    print(handle.exec_id, flush=True)
    print(handle.wait())
