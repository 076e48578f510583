"""Questions that nobody answers in time: one has a value for that, the other raises."""

from __future__ import annotations

import kit
import person

import kitaru
from kitaru import KitaruWaitExpiredError, checkpoint, flow


@checkpoint
def work(step: str) -> str:
    kit.effect(step)
    return step


@flow
def patient() -> list[str]:
    first = work("first")
    value = kitaru.wait(schema=str, name="value", expires=3600, on_expire="nobody")
    second = work(f"{first} {kit.got('value', value)}")
    try:
        kitaru.wait(schema=str, name="error", expires=3600)
    except KitaruWaitExpiredError:
        kit.got("error", None)
        return [second, work("too late")]
    return ["answered"]


if __name__ == "__main__":
    person.play(patient, {"value": person.LATER, "error": person.LATER})
