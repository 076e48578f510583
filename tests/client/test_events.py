"""Reading events: from the beginning, from a cursor, in another process, while more are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from kitaru.client import ExecutionEvent, KitaruClient, shapes
from kitaru.client.executions import Executions
from kitaru.errors import KitaruBackendError, KitaruNotFoundError, KitaruUsageError
from kitaru.model import EventRecord, ExecutionStatus
from kitaru.store import Store
from kitaru.testing import FakeClock
from tests.client.journal import START, Book

PATIENCE_SECONDS = 20


def tell(book: Book, kind: str, **payload: Any) -> None:
    record = EventRecord(kind=kind, position="", payload=json.dumps(payload), created_at=START)
    book.store.append_events([(book.id, record)])


def kinds(events: Iterator[ExecutionEvent]) -> list[str]:
    return [event.kind for event in events]


def finished(store: Store, *told: str) -> Book:
    book = Book.begin(store)
    for kind in told:
        tell(book, kind)
    book.end(ExecutionStatus.COMPLETED)
    return book


@pytest.fixture
def quick(client: KitaruClient) -> Executions:
    """Return executions whose readers do not really wait."""
    return Executions(client._connection, clock=FakeClock())


def test_event_is_read_with_who_told_it(store: Store, client: KitaruClient) -> None:
    book = Book.begin(store)
    sender = {"call": "fetch-2", "name": "fetch", "type": "tool_call", "attempt": 1}
    tell(book, "page", **sender, correlation_id="c", index=3, message="seen", data={"n": 1})
    book.end(ExecutionStatus.COMPLETED)

    event, _ = client.executions.events(book.id)

    assert shapes.event(event) == {
        "exec_id": book.id,
        "kind": "page",
        "payload": {
            "kitaru": {
                "source": "kitaru",
                "execution_id": book.id,
                "checkpoint_id": "fetch-2",
                "checkpoint_name": "fetch",
                "checkpoint_type": "tool_call",
                "attempt": 1,
                "correlation_id": "c",
            },
            "message": "seen",
            "data": {"n": 1},
        },
        "correlation_id": "c",
        "index": 3,
        "cursor": event.cursor,
        "checkpoint_id": "fetch-2",
        "checkpoint_name": "fetch",
        "step_name": "fetch-2",
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    assert (event.message, event.data) == ("seen", {"n": 1})


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_last_event_tells_how_the_execution_ended(
    store: Store, client: KitaruClient, status: str
) -> None:
    book = Book.begin(store)
    book.end(ExecutionStatus(status))

    [end] = client.executions.events(book.id)

    error = {"error_type": "ValueError"} if status == "failed" else {}
    assert end.kind == f"kitaru.execution.{status}"
    assert end.payload == {
        "kitaru": {"source": "kitaru", "execution_id": book.id},
        "status": status,
        **error,
    }
    assert (end.checkpoint_id, end.index, end.message, end.data) == (None, None, None, {})


def test_contradictions_are_told_with_their_call(store: Store, client: KitaruClient) -> None:
    book = Book.begin(store)
    facts = {"call_id": "fetch", "checkpoint": "fetch", "action": "reuse"}
    tell(book, "divergence", **facts)
    book.end(ExecutionStatus.COMPLETED)

    [event] = client.executions.events(book.id, kinds=["divergence"])

    assert (event.checkpoint_id, event.data) == ("fetch", facts)


def test_events_are_narrowed(store: Store, client: KitaruClient) -> None:
    book = Book.begin(store)
    tell(book, "a", call="fetch-2", name="fetch", correlation_id="x")
    tell(book, "b", call="fetch-3", name="fetch", correlation_id="y")
    tell(book, "c")
    book.end(ExecutionStatus.COMPLETED)

    def found(**filters: Any) -> list[str]:
        return kinds(client.executions.events(book.id, **filters))

    assert found(kinds=["c", "a"]) == ["a", "c"]
    assert found(checkpoint="fetch") == ["a", "b"]
    assert found(checkpoint="fetch-3") == ["b"]
    assert found(correlation_ids=["x"]) == ["a"]
    assert found(kinds=["a"], correlation_ids=["y"]) == []
    assert found(kinds=["kitaru.execution.completed"]) == ["kitaru.execution.completed"]


@pytest.mark.parametrize(
    "filters",
    [
        {"kinds": "a"}, {"kinds": [""]}, {"kinds": ["a\nb"]}, {"checkpoint": ""},
        {"correlation_ids": ["\r"]}, {"kinds": [1]},
    ],
)  # fmt: skip
def test_unacceptable_filters_are_refused_at_once(
    store: Store, client: KitaruClient, filters: dict[str, Any]
) -> None:
    book = finished(store)

    with pytest.raises(KitaruUsageError):
        client.executions.events(book.id, **filters)


def test_what_is_there_can_be_read_without_waiting(store: Store, client: KitaruClient) -> None:
    book = Book.begin(store)
    tell(book, "one")

    [event] = client.executions.events(book.id, follow=False)
    tell(book, "two")

    assert event.kind == "one"
    assert kinds(client.executions.events(book.id, since=event.cursor, follow=False)) == ["two"]


def test_unknown_execution_is_refused_at_once(client: KitaruClient) -> None:
    with pytest.raises(KitaruNotFoundError):
        client.executions.events("nobody")


def test_each_cursor_leads_to_the_event_behind_it(store: Store, client: KitaruClient) -> None:
    book, other = Book.begin(store), Book.begin(store)
    for kind in "abc":
        tell(book, kind)
        tell(other, "elsewhere")
    book.end(ExecutionStatus.COMPLETED)
    events = list(client.executions.events(book.id))

    rests = [kinds(client.executions.events(book.id, since=event.cursor)) for event in events]

    end = "kitaru.execution.completed"
    assert rests == [["b", "c", end], ["c", end], [end], []]
    assert len({event.cursor for event in events}) == 4


def test_more_events_than_a_page_are_read_in_order(store: Store, client: KitaruClient) -> None:
    book = Book.begin(store)
    records = [
        EventRecord(kind=str(number), position="", payload="{}", created_at=START)
        for number in range(1_201)
    ]
    store.append_events([(book.id, record) for record in records])
    book.end(ExecutionStatus.COMPLETED)

    read = kinds(client.executions.events(book.id))

    assert read[:-1] == [record.kind for record in records]


@pytest.mark.parametrize("cursor", ["", "x", "1", "-1-0123456789ab", "1-0123456789ab"])
def test_what_is_no_cursor_is_refused(store: Store, client: KitaruClient, cursor: str) -> None:
    book = finished(store, "a")

    with pytest.raises(KitaruUsageError, match="is no cursor of execution"):
        client.executions.events(book.id, since=cursor)


def test_cursor_of_another_execution_or_of_the_future_is_refused(
    store: Store, client: KitaruClient
) -> None:
    book, other = finished(store, "a"), finished(store, "a")
    [first, _] = client.executions.events(book.id)
    assert first.cursor is not None
    number, _, tag = first.cursor.partition("-")

    for cursor in (first.cursor, f"{int(number) + 5}-{tag}"):
        with pytest.raises(KitaruUsageError):
            client.executions.events(other.id if cursor == first.cursor else book.id, since=cursor)


def test_forgotten_events_leave_a_gap_for_who_had_not_read_them(
    store: Store, client: KitaruClient
) -> None:
    book = finished(store, "a", "b", "c")
    first = next(client.executions.events(book.id))

    store.prune_events(book.id, keep=1)

    gap, *rest = client.executions.events(book.id, since=first.cursor)
    assert (gap.kind, gap.data) == ("gap", {"dropped": None})
    assert [event.kind for event in rest] == ["c", "kitaru.execution.completed"]
    assert kinds(client.executions.events(book.id)) == ["c", "kitaru.execution.completed"]


def test_retried_execution_is_told_of_on_behind_its_former_end(
    store: Store, client: KitaruClient
) -> None:
    book = Book.begin(store)
    tell(book, "a")
    book.end(ExecutionStatus.FAILED, at=4)
    former_end = list(client.executions.events(book.id))[-1]
    store.retry_execution(book.id, reopen=(), now=START)
    tell(book, "b")
    store.request_cancel(book.id, by="ann", now=START)

    rest = client.executions.events(book.id, since=former_end.cursor)

    assert kinds(rest) == ["b", "kitaru.execution.cancelled"]


def test_reader_waits_for_what_is_told_later(store: Store, quick: Executions) -> None:
    book = Book.begin(store)
    events = quick.events(book.id)
    tell(book, "a")
    assert next(events).kind == "a"
    read: list[str] = []
    watcher = threading.Thread(target=lambda: read.extend(kinds(events)))
    watcher.start()

    tell(book, "b")
    book.end(ExecutionStatus.COMPLETED)

    watcher.join(PATIENCE_SECONDS)
    assert read == ["b", "kitaru.execution.completed"]


def test_two_readers_read_the_same(store: Store, quick: Executions) -> None:
    book = Book.begin(store)
    read: list[list[str]] = [[], []]
    readers = [
        threading.Thread(target=lambda found=found: found.extend(kinds(quick.events(book.id))))
        for found in read
    ]
    for reader in readers:
        reader.start()

    for number in range(50):
        tell(book, str(number))
    book.end(ExecutionStatus.COMPLETED)

    for reader in readers:
        reader.join(PATIENCE_SECONDS)
    expected = [*map(str, range(50)), "kitaru.execution.completed"]
    assert read == [expected, expected]


def test_reader_waits_longer_while_nothing_happens(store: Store, client: KitaruClient) -> None:
    class Impatient(FakeClock):
        def pass_time(self, seconds: float) -> float:
            pauses.append(seconds)
            if len(pauses) == 7:
                book.end(ExecutionStatus.COMPLETED)
            return super().pass_time(seconds)

    pauses: list[float] = []
    book = Book.begin(store)
    tell(book, "a")

    read = kinds(Executions(client._connection, clock=Impatient()).events(book.id))

    assert read == ["a", "kitaru.execution.completed"]
    assert pauses == [0.05, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


def test_deleted_execution_ends_its_readers(store: Store, quick: Executions) -> None:
    book = Book.begin(store)
    tell(book, "a")
    events = quick.events(book.id)
    next(events)
    book.end(ExecutionStatus.COMPLETED)
    store.delete_execution(book.id)

    with pytest.raises(KitaruNotFoundError):
        next(events)


class Shaky:
    """A store that fails now and then."""

    def __init__(self, store: Store, failures: int) -> None:
        self.store = store
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        if name == "list_events" and self.failures:
            self.failures -= 1
            raise KitaruBackendError("the line dropped")
        return getattr(self.store, name)


@pytest.mark.parametrize(("failures", "reconnect"), [(1, False), (100, True)])
def test_reader_gives_up_on_a_store_out_of_reach(
    store: Store, client: KitaruClient, quick: Executions, failures: int, reconnect: bool
) -> None:
    book = finished(store, "a")
    client._connection.__dict__["store"] = Shaky(store, failures)

    with pytest.raises(KitaruBackendError, match="the line dropped"):
        list(quick.events(book.id, reconnect=reconnect))


def test_reader_reads_on_when_the_store_is_back(
    store: Store, client: KitaruClient, quick: Executions
) -> None:
    book = finished(store, "a")
    client._connection.__dict__["store"] = Shaky(store, 3)

    assert kinds(quick.events(book.id)) == ["a", "kitaru.execution.completed"]


# --- several processes ------------------------------------------------------------------------

FLOWS = """
    import os, signal, sys
    import kitaru
    from kitaru import checkpoint, flow

    @checkpoint
    def first() -> None:
        kitaru.progress("first", flush=True)

    @checkpoint
    def second() -> None:
        kitaru.progress("second", flush=True)
        if os.environ.get("KILLED"):
            kitaru.progress("never read")
            os.kill(os.getpid(), signal.SIGKILL)

    @flow
    def both() -> None:
        first()
        second()

    if __name__ == "__main__":
        if len(sys.argv) > 1:
            kitaru.KitaruClient().executions.recover(sys.argv[1])
        else:
            print(both.run().exec_id, flush=True)
"""


def run(script: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *words],
        env={**os.environ, **variables},
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_reader_follows_an_execution_from_a_killed_process_into_the_next(
    client: KitaruClient, tmp_path: Path
) -> None:
    script = tmp_path / "app.py"
    script.write_text(dedent(FLOWS), "utf-8")
    killed = run(script, KILLED="1")
    exec_id = killed.stdout.strip()
    events = client.executions.events(exec_id)
    before = [next(events) for _ in range(3)]

    recovered = run(script, exec_id)

    assert recovered.returncode == 0, recovered.stderr
    after = list(events)
    assert [event.message for event in before] == ["first", None, "second"]
    assert [(event.kind, event.message) for event in after] == [
        ("kitaru.checkpoint.progress", "second"),
        ("kitaru.checkpoint.returned", None),
        ("kitaru.execution.completed", None),
    ]
    # The body that ran twice tells of two attempts, cut off and whole.
    assert before[2].correlation_id != after[0].correlation_id == after[1].correlation_id
    in_another_process = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, kitaru\n"
            "events = kitaru.KitaruClient().executions.events(sys.argv[1], since=sys.argv[2])\n"
            "print(*(event.cursor for event in events))",
            exec_id,
            before[0].cursor or "",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert in_another_process.stdout.split() == [event.cursor for event in [*before[1:], *after]]
