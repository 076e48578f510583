"""Stops in the middle until a file appears. No scenario of the sweep."""

from __future__ import annotations

import kit

from kitaru import checkpoint, flow


@checkpoint
def first(word: str) -> str:
    kit.effect("first")
    return word


@checkpoint
def second(word: str) -> str:
    kit.append("reached", {})
    kit.pause("gate")
    kit.effect("second")
    return word.upper()


@checkpoint
def third(word: str) -> str:
    kit.effect("third")
    return word + "!"


@flow
def gated() -> str:
    return third(second(first("word")))


if __name__ == "__main__":
    kit.append("result", {"result": kit.start(gated).wait()})
