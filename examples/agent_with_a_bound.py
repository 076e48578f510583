"""An agent loop with a bound: when its turns are used up, it asks a person whether to go on.

Each turn is a checkpoint, so a crash costs one turn at most, and what the person allowed is recorded as
well. `--answer` plays the person: allows two more turns, and then none.
"""

from __future__ import annotations

import sys

import kitaru
from kitaru import FlowHandle, checkpoint, flow

CLUES = ["hives", "nectar", "dances", "queens", "honey", "pollen", "swarms"]


@checkpoint(type="llm_call")
def think(goal: str, notes: list[str]) -> str:
    """Decide what to look up next. An agent asks a model here; this one has a list."""
    return f"{CLUES[len(notes) % len(CLUES)]} of {goal}"


@checkpoint(type="tool_call")
def look_up(word: str) -> str:
    return f"a note on {word}"


@flow
def explore(goal: str, turns: int = 3) -> list[str]:
    notes: list[str] = []
    while True:
        while len(notes) < turns:
            turn = len(notes) + 1
            word = think(goal, notes, id=f"think-{turn}")
            notes.append(look_up(word, id=f"look-up-{turn}"))
        more = kitaru.wait(
            schema=int,
            name="more_turns",
            question=f"{turns} turns are used up, and there are {len(notes)} notes. How many more?",
        )
        if more <= 0:
            return notes
        turns += more


def play_the_person(handle: FlowHandle[list[str]]) -> None:
    answers = iter([2, 0])
    for event in handle.events(kinds=["kitaru.wait.asked"]):
        more = next(answers)
        print(f"{event.data['question']} {more}")
        handle.input(event.data["wait"], more)


if __name__ == "__main__":
    handle = explore.run("bees")
    print(f"execution {handle.exec_id}", flush=True)
    if "--answer" in sys.argv:
        play_the_person(handle)
    print(handle.wait())
    print(*(call.call_id for call in handle.execution.checkpoints))
