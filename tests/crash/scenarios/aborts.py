"""A wait that is aborted, which the flow catches, and goes on to ask something else."""

from __future__ import annotations

import kit
import person

import kitaru
from kitaru import KitaruWaitAbortedError, checkpoint, flow


@checkpoint
def work(step: str) -> str:
    kit.effect(step)
    return step


@flow
def humble() -> str:
    first = work("first")
    try:
        kitaru.wait(schema=bool, name="may_i")
    except KitaruWaitAbortedError:
        kit.got("may_i", None)
        second = work("aborted")
    else:
        second = work("allowed")
    return f"{first} {second} {kit.got('what', kitaru.wait(schema=str, name='what'))}"


if __name__ == "__main__":
    person.play(humble, {"may_i": person.ABORT, "what": person.says("then")})
