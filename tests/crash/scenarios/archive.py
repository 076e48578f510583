"""Make, export or import an execution: `archive.py make|export|import FILE`. No scenario of the sweep."""

from __future__ import annotations

import sys

import kit
import person

import kitaru
from kitaru import KitaruClient, checkpoint, flow


@checkpoint
def draw(size: int) -> bytes:
    kit.effect(f"draw {size}")
    return bytes(size)


@flow
def part(size: int) -> int:
    return len(draw(size))


@flow
def whole() -> int:
    draw(1)
    answer = kit.got("how_much", kitaru.wait(schema=int, name="how_much"))
    return part.run(answer).wait() + part.run(answer + 1).wait()


if __name__ == "__main__":
    what, path = sys.argv[1:]
    if what == "make":
        person.play(whole, {"how_much": person.says(200_000)})
    else:
        kit.arm()
        client = KitaruClient()
        if what == "export":
            client.executions.export(client.executions.latest(flow="whole").exec_id, path)
        else:
            client.executions.import_(path)
        kit.disarm()
