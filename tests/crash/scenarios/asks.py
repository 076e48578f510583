"""Sync: two questions between calls, and one whose first answer the flow does not accept."""

from __future__ import annotations

from typing import Annotated

import kit
import person
import pydantic

import kitaru
from kitaru import checkpoint, flow


def even(number: int) -> int:
    if number % 2:
        message = "it is odd"
        raise ValueError(message)
    return number


@checkpoint
def work(step: str) -> str:
    kit.effect(step)
    return step


@flow
def asking() -> list[object]:
    first = work("first")
    colour = kit.got("colour", kitaru.wait(schema=str, name="colour", question=f"After {first}?"))
    second = work(f"in {colour}")
    kit.got("gate", kitaru.wait(name="gate"))
    schema = Annotated[int, pydantic.AfterValidator(even)]
    number = kit.got("number", kitaru.wait(schema=schema, name="number"))
    return [second, number, work(f"with {number}")]


if __name__ == "__main__":
    replies = {
        "colour": person.says("blue"),
        "gate": person.says(None),
        "number": person.says_only_after_being_told_off(3, 4),
    }
    person.play(asking, replies)
