"""The executions that stores are filled with, as an agent leaves them: one of each way to end.

`python -m benchmarks.tickets DIRECTORY` makes them with the public API; `seeding.py` copies their rows.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import kitaru
from kitaru import checkpoint, flow
from kitaru.errors import KitaruError

_SENTENCE = "The parcel left the warehouse on Tuesday and has not been scanned since. "

Ticket = dict[str, Any]


@checkpoint(type="llm_call")
def classify(ticket: Ticket) -> dict[str, Any]:
    return {"topic": "delivery", "urgency": len(ticket), "because": _SENTENCE}


@checkpoint(type="tool_call")
def look_up(order: str, *, is_down: bool) -> list[dict[str, Any]]:
    if is_down:
        raise ConnectionError(f"the order service does not answer for {order}")
    return [{"order": order, "position": number, "state": "sent"} for number in range(4)]


@checkpoint(type="llm_call")
def reply(ticket: Ticket, found: list[dict[str, Any]]) -> str:
    return f"Dear {ticket['customer']}, {_SENTENCE * (len(found) + 1)}"


@flow
def ticket_agent(ticket: Ticket, ends: str) -> dict[str, Any]:
    topic = classify(ticket)
    found = look_up(ticket["order"], is_down=ends == "failed")
    text = reply(ticket, found)
    if ends in ("waiting", "cancelled"):
        kitaru.wait(schema=bool, name="approve", question="Send this reply?", timeout=0)
    return {"topic": topic["topic"], "reply": text}


def main() -> None:
    kitaru.configure(config_dir=sys.argv[1])
    for number, ends in enumerate(("completed", "failed", "cancelled", "waiting")):
        ticket = {
            "customer": f"customer-{number}@example.com",
            "order": f"2026-{number:06}",
            "text": _SENTENCE * 3,
        }
        handle = ticket_agent.run(ticket, ends)
        with contextlib.suppress(KitaruError):
            handle.wait(timeout=1.0 if ends in ("cancelled", "waiting") else None)
        if ends == "cancelled":
            handle.cancel()


if __name__ == "__main__":
    main()
