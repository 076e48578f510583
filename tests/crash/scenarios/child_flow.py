"""A parent that waits for children: one sync, one async, and one started inside a checkpoint."""

from __future__ import annotations

import kit

from kitaru import checkpoint, flow


@checkpoint
def shout(word: str) -> str:
    kit.effect(f"shout {word}")
    return word.upper()


@checkpoint
async def whisper(word: str) -> str:
    kit.effect(f"whisper {word}")
    return word.lower()


@checkpoint
def delegate(word: str) -> str:
    result = loud.run(word).wait()
    kit.effect(f"delegate {word}")
    return result


@flow
def loud(word: str) -> str:
    return shout(word)


@flow
async def quiet(word: str) -> str:
    return await whisper(word)


@flow
def conversation() -> list[str]:
    first = shout("begin")
    words = [loud.run("one").wait(), quiet.run("TWO").wait()]
    return [first, *words, delegate("three"), shout("end")]


if __name__ == "__main__":
    kit.play(conversation)
