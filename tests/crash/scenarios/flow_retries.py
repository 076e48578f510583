"""A flow that fails and is tried again as a whole, over the calls that did not fail."""

from __future__ import annotations

import kit

import kitaru
from kitaru import checkpoint, flow


@checkpoint
def prepare() -> str:
    kit.effect("prepare")
    return "ready"


@checkpoint
def launch(state: str) -> str:
    call = kitaru.current_call()
    assert call is not None
    kit.effect(f"launch {call.attempt}")
    if call.attempt < 3:
        raise RuntimeError(state)
    return "launched"


@flow(retries=2)
def mission() -> str:
    return launch(prepare())


if __name__ == "__main__":
    kit.play(mission)
