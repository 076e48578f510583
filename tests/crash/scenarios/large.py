"""Values too large for a row: inputs, arguments, results, artifacts and the flow's own result."""

from __future__ import annotations

import kit

import kitaru
from kitaru import checkpoint, flow

SIZE = 40_000


@checkpoint
def grow(seed: bytes) -> bytes:
    kitaru.save("half", seed * (SIZE // 2), type="blob")
    kit.effect("grow")
    return seed * SIZE


@checkpoint
async def turn(content: bytes) -> bytes:
    kit.effect("turn")
    return content[::-1]


@flow
async def heavy(content: bytes) -> bytes:
    grown = grow(b"ab")
    turned = await turn(grown)
    return turned + content


if __name__ == "__main__":
    kit.play(heavy, b"x" * SIZE)
