"""A replay from the middle of a sync flow: an answer before it stays, the one after it is asked for again."""

from __future__ import annotations

import kit
import person

import kitaru
from kitaru import checkpoint, flow


@checkpoint
def work(step: str) -> str:
    kit.effect(step)
    return step


@checkpoint
def middle(step: str) -> str:
    kit.effect(step)
    return step


@flow
def story() -> list[str]:
    first = work("begin")
    early = kit.got("early", kitaru.wait(schema=str, name="early"))
    second = middle(f"{first} {early}")
    late = kit.got("late", kitaru.wait(schema=str, name="late", question=f"After {second}?"))
    return [second, work(f"end {late}"), work("over")]


if __name__ == "__main__":
    replies = {"early": person.says("sun"), "late": person.says("moon")}
    person.replay(story, replies, from_="middle")
