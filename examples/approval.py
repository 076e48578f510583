"""Approval: a flow asks a person, needs no process while it waits, and goes on wherever the answer finds it.

Run it in a terminal and it asks there. Kill it while it waits, and answer tomorrow, from anywhere:

    kitaru executions input EXECUTION --value '{"approved": true}'

`--answer` plays the person: sends the first draft back and approves the second.
"""

from __future__ import annotations

import sys

from pydantic import BaseModel, Field

import kitaru
from kitaru import FlowHandle, checkpoint, flow


class Review(BaseModel):
    approved: bool = Field(description="Whether the text may go out as it is")
    comment: str = Field(default="", description="What should be better")


@checkpoint(type="llm_call")
def write(topic: str, comments: list[str]) -> str:
    return ", ".join([f"all about {topic}", *comments])


@checkpoint(type="tool_call")
def publish(text: str) -> str:
    return f"published: {text}"


@flow
def newsletter(topic: str) -> str:
    comments: list[str] = []
    while True:
        text = write(topic, comments)
        review = kitaru.wait(
            schema=Review,
            name="review",
            question=f"Publish this?\n{text}",
            metadata={"topic": topic},
        )
        if review.approved:
            return publish(text)
        comments.append(review.comment)


def play_the_person(handle: FlowHandle[str]) -> None:
    answers = iter([Review(approved=False, comment="but shorter"), Review(approved=True)])
    for event in handle.events(kinds=["kitaru.wait.asked"]):
        wait, review = event.data["wait"], next(answers)
        print(f"{wait}: {review!r}")
        handle.input(wait, review)


if __name__ == "__main__":
    handle = newsletter.run("bees")
    print(f"execution {handle.exec_id}", flush=True)
    if "--answer" in sys.argv:
        play_the_person(handle)
    print(handle.wait())
    for wait in handle.execution.waits:
        print(f"{wait.wait_id} {wait.status} by {wait.resolved_by} via {wait.resolved_via}")
