"""Values under a name: one flow saves a draft, another one loads it, days later if need be.

`kitaru.save` keeps a value together with the result of the checkpoint that calls it; `kitaru.load`
finds it by the execution's id, from another flow, another process or a notebook.
"""

from __future__ import annotations

from dataclasses import dataclass

import kitaru
from kitaru import checkpoint, flow


@dataclass
class Draft:
    title: str
    paragraphs: list[str]


@checkpoint
def write(title: str) -> int:
    draft = Draft(title, ["Bees live in hives.", "They make honey."])
    kitaru.save("draft", draft)
    return len(draft.paragraphs)  # small: the flow does not need the draft itself


@flow
def author(title: str) -> int:
    return write(title)


@checkpoint
def revise(exec_id: str) -> Draft:
    # In a checkpoint, so that this run keeps its own copy even if the other execution is deleted.
    draft = kitaru.load(exec_id, "draft")
    return Draft(draft.title.upper(), [*draft.paragraphs, "Some bees live alone."])


@flow
def editor(exec_id: str) -> Draft:
    return revise(exec_id)


if __name__ == "__main__":
    written = author.run("On bees")
    print(f"{written.wait()} paragraphs in execution {written.exec_id}")
    edited = editor.run(written.exec_id)
    print(edited.wait())
    # A checkpoint's own result has a name too: the checkpoint's.
    assert kitaru.load(edited.exec_id, "revise") == edited.wait()
