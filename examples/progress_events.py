"""Progress: an agent that says what it is doing, and a reader that goes on where another one stopped.

The reader could be another process, or a web page: all it needs is the execution's id and a cursor.
"""

from __future__ import annotations

import kitaru
from kitaru import ExecutionEvent, KitaruClient, checkpoint, flow

ANSWER = "Bees dance to tell each other where flowers are."


@checkpoint(type="tool_call")
def search(question: str, sources: int) -> list[str]:
    found: list[str] = []
    for number in range(1, sources + 1):
        found.append(f"source {number} on {question}")
        kitaru.progress(f"read source {number}", percent=number / sources)
    return found


@checkpoint(type="llm_call")
def answer(sources: list[str]) -> str:
    for word in ANSWER.split():  # as a model streams its answer
        kitaru.events.publish("answer.token", {"text": word})
    return f"{ANSWER} ({len(sources)} sources)"


@flow
def ask(question: str) -> str:
    kitaru.events.publish("agent.plan", message=f"search, then answer: {question}")
    return answer(search(question, sources=3))


def show(event: ExecutionEvent) -> None:
    match event.kind:
        case "kitaru.checkpoint.progress":
            print(f"  {event.data['percent']:4.0%} {event.message}")
        case "answer.token":
            print(f"  {event.data['text']}")
        case _:
            print(event.kind, event.message or event.checkpoint_id or "")


if __name__ == "__main__":
    handle = ask.run("bees")

    cursor = None
    for event in handle.events(checkpoint="search"):
        show(event)
        if event.kind == kitaru.events.CHECKPOINT_RETURNED_KIND:
            cursor = event.cursor
            break  # the watcher leaves ...

    for event in KitaruClient().executions.events(handle.exec_id, since=cursor):
        show(event)  # ... and another one goes on behind what the first has seen
    print(handle.wait())
