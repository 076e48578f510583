"""A task group, then tasks taken as they complete, on the script's own loop."""

from __future__ import annotations

import asyncio
import os

import kit

from kitaru import checkpoint, flow


@checkpoint
async def roll(sides: int) -> int:
    """The same arguments in every task: only its place tells a call from the others."""
    await asyncio.sleep(os.urandom(1)[0] / 255 * 0.01)
    kit.effect("roll")
    return int.from_bytes(os.urandom(4)) * sides


@checkpoint
async def use(name: str, number: int) -> tuple[str, int]:
    """Called with another number, it is another call: so a mixed-up `roll` would show."""
    kit.effect(f"use {name}")
    return name, number


async def branch(name: str) -> tuple[str, int]:
    return await use(name, await roll(6))


@flow
async def grouped() -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(branch(name)) for name in ("a", "b", "c")]
    found = [task.result() for task in tasks]
    more = [asyncio.create_task(branch(name)) for name in ("d", "e")]
    for later in asyncio.as_completed(more):
        name, number = await later
        found.append(await use(f"later {name}", number))
    return sorted(name for name, _ in found)


if __name__ == "__main__":
    kit.aplay(grouped)
