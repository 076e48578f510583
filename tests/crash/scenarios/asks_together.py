"""Questions that are open at once, in async tasks; what follows from each answer runs beside the others."""

from __future__ import annotations

import asyncio

import kit
import person

import kitaru
from kitaru import checkpoint, flow

MEMBERS = ("ann", "bob", "eve")


@checkpoint
async def invite(member: str) -> str:
    kit.effect(f"invite {member}")
    return member


@checkpoint
async def thank(member: str, vote: str) -> str:
    kit.effect(f"thank {member} for {vote}")
    return f"{member}: {vote}"


async def consult(member: str) -> str:
    await invite(member)
    # All of one name: only the question tells who is asked.
    vote = await kitaru.wait.aio(schema=str, name="vote", question=member)
    return await thank(member, kit.got(member, vote))


@flow
async def committee() -> list[str]:
    return list(await asyncio.gather(*map(consult, MEMBERS)))


if __name__ == "__main__":
    person.play(committee, {member: person.says(f"{member}'s vote") for member in MEMBERS})
