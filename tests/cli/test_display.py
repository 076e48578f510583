"""What is told of executions that go on, where nothing can be redrawn."""

from __future__ import annotations

import json
from typing import Any

from kitaru.cli.display import Changes
from kitaru.cli.progress import Progress
from kitaru.client import KitaruClient
from kitaru.model import CallStatus, EventKind, EventRecord, ExecutionStatus
from kitaru.store import Store
from tests.client.journal import START, Book


def tell(book: Book, kind: EventKind, call_id: str | None, message: str = "", **data: Any) -> None:
    payload = {"call": call_id, "message": message, "data": data}
    told = EventRecord(
        kind=kind,
        position=f"{call_id}#1" if call_id else "",
        payload=json.dumps(payload),
        created_at=START,
    )
    book.write(events=(told,))


def test_running_calls_show_what_they_told_last(store: Store):
    book = Book.begin(store)
    book.call("plan")
    book.call("crawl", seconds=None)
    client = KitaruClient()
    progress = Progress(client, book.id)

    def shown() -> dict[str, str]:
        return progress.of(client.executions.get(book.id))

    tell(book, EventKind.CHECKPOINT_PROGRESS, "plan", "over by now")
    tell(book, EventKind.CHECKPOINT_PROGRESS, "crawl", "page 1")
    first = shown()
    tell(book, EventKind.CHECKPOINT_PROGRESS, "crawl", "page\n2", percent=0.5)
    tell(book, EventKind.CHECKPOINT_PROGRESS, None, "on my way")
    second = shown()
    tell(book, EventKind.CHECKPOINT_STARTED, "crawl")
    third = shown()
    book.end(ExecutionStatus.COMPLETED)

    assert first == {"crawl": "page 1"}
    assert second == {"crawl": "page 2 (50%)", "": "on my way"}
    assert third == {"": "on my way"}
    assert shown() == {}


def test_changes_are_told_once(store: Store):
    book = Book.begin(store, id="0197-audit")
    book.call("crawl", seconds=None)
    changes = Changes()

    def since(told: dict[str, str]) -> list[str]:
        return list(changes.since(KitaruClient().executions.get(book.id), told))

    began = since({"crawl": "page 1"})
    same = since({"crawl": "page 1"})
    moved = since({"crawl": "page 2", "": "on my way"})
    book.call("crawl", seconds=1.5)
    book.call("old", status=CallStatus.CACHED, cached_from="0196-x/old#1")
    book.ask()

    assert began == [
        "execution 0197-audit of flow 'audit'",
        "crawl running",
        "crawl: page 1",
    ]
    assert same == []
    assert moved == ["crawl: page 2", "audit: on my way"]
    assert since({}) == [
        "crawl completed in 1.5 s",
        "old cached",
        "approve asks: Ship it?",
        "audit waiting",
    ]
