"""What is run: a survey that visits places one after the other, and asks whether to publish it.

    kitaru worker examples.shared.flows
    kitaru run examples.shared.flows:survey --detach

Nothing in it says where executions are kept.
"""

from __future__ import annotations

import time

import kitaru
from kitaru import checkpoint, flow


@checkpoint(type="tool_call")
def visit(place: str) -> str:
    print("visiting", place)
    time.sleep(0.2)  # a tool at work
    return f"{place}: seen"


@flow
def survey(places: int = 10) -> str:
    seen = [visit(f"place {number + 1}") for number in range(places)]
    if kitaru.wait(schema=bool, name="publish", question=f"Publish {len(seen)} places?"):
        return f"{len(seen)} places published"
    return "nothing published"
