"""Flows that ask whoever the test is: `questions.py FLOW [COUNT]`. No scenario of the sweep."""

from __future__ import annotations

import asyncio
import sys

import kit

import kitaru
from kitaru import checkpoint, flow

ROUNDS = 6


@checkpoint
def work(step: str) -> str:
    kit.effect(step)
    return step


@flow
def asked(patience: float) -> str:
    work("before")
    answer = kit.got("approve", kitaru.wait(schema=str, name="approve", timeout=patience))
    return work(f"after {answer}")


@flow
def family(patience: float) -> str:
    work("begin")
    return work(f"end {asked.run(patience).wait()}")


@flow
async def race(count: int) -> list[str]:
    async def ask(number: int) -> str:
        answer = await kitaru.wait.aio(
            schema=str,
            name="q",
            question=f"{number}?",
            expires=1.0 + number * 0.02,
            on_expire="nobody",
        )
        return kit.got(f"{number}?", answer)

    return list(await asyncio.gather(*map(ask, range(count))))


@flow(max_recoveries=1000)
def busy(number: int) -> list[str]:
    answers: list[str] = []
    for turn in range(ROUNDS):
        work(f"{number} before {turn}")
        question, timeout = f"{number} in {turn}?", turn % 2
        answer = kitaru.wait(schema=str, name="turn", question=question, timeout=timeout)
        answers.append(kit.got(question, answer))
        kitaru.sleep(0.01)
    return answers


if __name__ == "__main__":
    kit.arm()
    match sys.argv[1]:
        case "asked":
            handles = [kit.start(asked, 600)]
        case "asked and gone":
            handles = [kit.start(asked, 0)]
        case "family":
            handles = [kit.start(family, 600)]
        case "family and gone":
            handles = [kit.start(family, 0)]
        case "race":
            handles = [kit.start(race, int(sys.argv[2]))]
        case _:
            handles = [kit.start(busy, number) for number in range(int(sys.argv[2]))]
    for handle in handles:
        kit.append("result", {"result": handle.wait()})
