"""Time, chance, metadata and artifacts, which are written with the next call's record."""

from __future__ import annotations

import kit

import kitaru
from kitaru import checkpoint, flow


@checkpoint
def stamp(moment: str, chance: float, key: str) -> tuple[str, float, str]:
    kit.effect("stamp")
    kitaru.log(model="small", tokens={"in": 1})
    kitaru.save("prompt", {"key": key}, type="prompt")
    return moment, chance, key


@checkpoint
def again(key: str) -> str:
    kit.effect("again")
    return key


@flow
def dated() -> dict[str, bool]:
    moment, chance, key = kitaru.now().isoformat(), kitaru.random(), str(kitaru.uuid4())
    kitaru.log(stage="first", nested={"a": 1})
    stamped = stamp(moment, chance, key)
    kitaru.log(stage="second", nested={"b": 2})
    later = str(kitaru.uuid4())
    echoed = again(later)
    return {"same": stamped == (moment, chance, key), "later": echoed == later, "new": later != key}


if __name__ == "__main__":
    kit.play(dated)
