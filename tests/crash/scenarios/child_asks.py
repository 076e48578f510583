"""A parent that waits for a child that asks."""

from __future__ import annotations

import kit
import person

import kitaru
from kitaru import checkpoint, flow


@checkpoint
def work(step: str) -> str:
    kit.effect(step)
    return step


@flow
def curious(subject: str) -> str:
    work(f"before {subject}")
    answer = kit.got(subject, kitaru.wait(schema=str, name="why", question=subject))
    return work(f"{subject} {answer}")


@flow
def parent() -> list[str]:
    return [work("begin"), curious.run("rain").wait(), work("end")]


if __name__ == "__main__":
    person.play(parent, {"why": person.says("because")})
