"""A first flow: a step, a fan-out over its results, and a summary.

Run it, then look at what was recorded: `kitaru executions list` and `kitaru executions get ID`.
"""

from __future__ import annotations

import kitaru
from kitaru import checkpoint, flow


@checkpoint
def find_sources(topic: str) -> list[str]:
    return [f"{topic} in {where}" for where in ("the garden", "the kitchen", "history")]


@checkpoint(retries=2)  # a model, a tool, an API: anything slow, costly or flaky
def read(source: str) -> str:
    kitaru.log(letters=len(source))
    return f"what there is to know about {source}"


@checkpoint
def summarize(notes: list[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)


@flow
def research(topic: str) -> str:
    sources = find_sources(topic)
    notes = read.map(sources).result()  # all at once; the results in the order of the sources
    return summarize(notes)


if __name__ == "__main__":
    handle = research.run("bees")  # goes on in the background
    print(handle.wait())
    print(f"execution {handle.exec_id}")
    for call in handle.execution.checkpoints:
        print(f"  {call.call_id}: {call.status}")
