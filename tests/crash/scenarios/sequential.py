"""Sync calls one after the other, each fed with the result of the one before."""

from __future__ import annotations

import kit

from kitaru import checkpoint, flow


@checkpoint
def draft(topic: str) -> dict[str, list[str]]:
    kit.effect(f"draft {topic}")
    return {"lines": [topic]}


@checkpoint
def extend(text: dict[str, list[str]], number: int) -> dict[str, list[str]]:
    kit.effect(f"extend {number}")
    return {"lines": [*text["lines"], f"line {number}"]}


@flow
def write(topic: str) -> str:
    text = draft(topic)
    for number in range(3):
        text = extend(text, number)
        text["lines"].append("changed by the flow")
    return "\n".join(text["lines"])


if __name__ == "__main__":
    kit.play(write, "crashes")
