"""What runs tell those who watch, and that they never suffer from it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import kitaru
from kitaru import FlowHandle, KitaruContextError, KitaruUsageError, RetryPolicy, checkpoint, flow
from kitaru.authoring import telling as telling_module
from kitaru.engine.feed import Feed
from kitaru.errors import KitaruBackendError
from kitaru.events import EventKind
from kitaru.model import EventRecord, ExecutionStatus
from kitaru.testing import FakeClock
from tests.engine.kit import PATIENCE_SECONDS, answer, execution, go_on, leave, runner, store

Payload = dict[str, Any]


def stored_events(handle: FlowHandle[Any]) -> list[EventRecord]:
    return [event for _, event in store().list_events(handle.exec_id)]


def told(handle: FlowHandle[Any]) -> list[tuple[str, Payload]]:
    """Return what an execution has told, correlation ids left out."""
    found: list[tuple[str, Payload]] = []
    for event in stored_events(handle):
        payload = json.loads(event.payload)
        payload.pop("correlation_id", None)
        found.append((event.kind, payload))
    return found


def kinds(handle: FlowHandle[Any]) -> list[str]:
    return [event.kind for event in stored_events(handle)]


# --- what is told -----------------------------------------------------------------------------


def test_checkpoint_tells_its_progress_before_it_returns() -> None:
    @checkpoint(type="tool_call")
    def search(word: str) -> int:
        kitaru.progress("looking", percent=0.5, word=word)
        kitaru.events.publish("search.hit", {"page": 7}, message="found one")
        return 1

    @flow
    def hunt() -> int:
        kitaru.progress("begun")
        return search("owl")

    handle = hunt.run()
    handle.wait()

    call = {"call": "search", "name": "search", "type": "tool_call", "attempt": 1}
    assert told(handle) == [
        (EventKind.CHECKPOINT_PROGRESS, {"message": "begun", "index": 0}),
        (
            EventKind.CHECKPOINT_PROGRESS,
            {**call, "message": "looking", "data": {"word": "owl", "percent": 0.5}, "index": 0},
        ),
        ("search.hit", {**call, "message": "found one", "data": {"page": 7}, "index": 1}),
        (EventKind.CHECKPOINT_RETURNED, {**call, "status": "returned"}),
    ]


def test_failed_attempts_are_told_without_what_they_raised() -> None:
    @checkpoint(retries=RetryPolicy(max_attempts=2, delay=0))
    def fragile() -> None:
        raise ValueError("the password is owl")

    @flow
    def breaking() -> None:
        with contextlib.suppress(ValueError):
            fragile()

    handle = breaking.run()
    handle.wait()

    failures = [payload for kind, payload in told(handle) if kind == EventKind.CHECKPOINT_FAILED]
    assert [(one["attempt"], one["error_type"], one["data"]) for one in failures] == [
        (1, "ValueError", {"will_retry": True}),
        (2, "ValueError", {"will_retry": False}),
    ]
    assert "owl" not in json.dumps(failures)


def test_events_of_one_attempt_share_a_correlation_id() -> None:
    @checkpoint(retries=RetryPolicy(max_attempts=2, delay=0))
    def twice() -> None:
        kitaru.progress("here")
        call = kitaru.current_call()
        assert call is not None
        if call.attempt == 1:
            raise ValueError

    @flow
    def two() -> None:
        twice()

    handle = two.run()
    handle.wait()

    ids = [json.loads(event.payload)["correlation_id"] for event in stored_events(handle)]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert all(one.startswith("kitaru.checkpoint:twice:") for one in ids)


def test_correlation_id_and_index_may_be_given() -> None:
    @flow
    def counting() -> None:
        kitaru.events.publish("token", correlation_id="answer-1", index=5)
        kitaru.events.publish("token", correlation_id="answer-1")
        with pytest.raises(KitaruUsageError, match="`index=5` is below"):
            kitaru.events.publish("token", index=5)

    handle = counting.run()
    handle.wait()

    payloads = [json.loads(event.payload) for event in stored_events(handle)]
    assert [(one["correlation_id"], one["index"]) for one in payloads] == [
        ("answer-1", 5),
        ("answer-1", 6),
    ]


def test_async_bodies_and_their_flow_tell_alike() -> None:
    @checkpoint
    async def fetch(page: int) -> int:
        kitaru.progress("fetching", page=page)
        return page

    @flow
    async def crawl() -> list[int]:
        found = await asyncio.gather(*(fetch(page) for page in range(3)))
        kitaru.events.publish("crawl.done", {"pages": len(found)})
        return found

    handle = crawl.run()
    handle.wait()

    pages = [p["data"]["page"] for kind, p in told(handle) if kind == "kitaru.checkpoint.progress"]
    assert sorted(pages) == [0, 1, 2]
    assert kinds(handle).count(EventKind.CHECKPOINT_RETURNED) == 3
    assert told(handle)[-1] == ("crawl.done", {"data": {"pages": 3}, "index": 0})


def test_recorded_calls_are_not_told_again_on_recovery(
    interruption: Callable[[], None],
) -> None:
    @checkpoint
    def step(number: int) -> int:
        return number

    @flow
    def steps() -> None:
        step(1)
        interruption()
        step(2)

    handle = steps.run()
    go_on(steps, handle).finished.result(PATIENCE_SECONDS)

    assert [payload["call"] for _, payload in told(handle)] == ["step", "step-2"]


def test_long_body_is_told_to_have_started() -> None:
    shown = threading.Event()

    @checkpoint
    def think() -> None:
        assert shown.wait(PATIENCE_SECONDS)

    @flow
    def thinking() -> None:
        think()

    feed = runner().services.feed
    tell = feed.tell

    def tell_and_note(exec_id: str, event: EventRecord) -> None:
        tell(exec_id, event)
        if event.kind == EventKind.CHECKPOINT_STARTED:
            shown.set()

    feed.tell = tell_and_note
    handle = thinking.run()
    handle.wait()

    assert kinds(handle) == [EventKind.CHECKPOINT_STARTED, EventKind.CHECKPOINT_RETURNED]


def test_wait_is_told_when_it_is_asked_and_answered() -> None:
    @flow
    def asking() -> bool:
        return kitaru.wait(schema=bool, name="approve", question="Go?")

    handle = asking.run()
    told_kinds = (event.kind for event in handle.events())
    assert next(told_kinds) == EventKind.WAIT_ASKED
    answer(handle, True, "approve")

    assert handle.wait() is True
    assert told(handle)[0][1]["data"] == {"wait": "approve", "question": "Go?"}
    assert kinds(handle) == [EventKind.WAIT_ASKED, EventKind.WAIT_ANSWERED]


# --- what is accepted -------------------------------------------------------------------------


def test_values_that_json_does_not_have_are_told_by_their_repr() -> None:
    class Unspeakable:
        def __repr__(self) -> str:
            raise RuntimeError

    deep: list[Any] = []
    deep.append(deep)

    @flow
    def telling() -> None:
        kitaru.progress(
            "values",
            nan=float("nan"),
            infinite=float("inf"),
            several=(1, {2}),
            keyed={3: b"x"},
            unspeakable=Unspeakable(),
            long=range(10**4),
            huge=10**5_000,
            blob=b"x" * 5_000,
        )
        kitaru.progress("deep", deep=deep)

    handle = telling.run()
    handle.wait()

    facts = told(handle)[0][1]["data"]
    assert facts["nan"] is None
    assert facts["infinite"] is None
    assert facts["several"] == [1, "{2}"]
    assert facts["keyed"] == {"3": "b'x'"}
    assert facts["unspeakable"].startswith("<")
    assert facts["long"] == "range(0, 10000)"
    assert facts["huge"] == "<int>"
    assert len(facts["blob"]) == 1_000
    assert len(told(handle)) == 2


@pytest.mark.parametrize("percent", [20, -0.1, 1.5, float("nan"), float("inf"), True, "half"])
def test_percent_that_is_no_fraction_is_left_out_and_the_run_goes_on(
    percent: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling_module, "_warned", threading.Lock())

    @flow
    def telling() -> str:
        kitaru.progress("wrong", percent=percent, page=1)
        kitaru.progress("wrong again", percent=percent)
        kitaru.progress("right", percent=1)
        return "done"

    handle = telling.run()

    assert handle.wait() == "done"
    data = [
        facts.get("data") for kind, facts in told(handle) if kind == EventKind.CHECKPOINT_PROGRESS
    ]
    assert data == [{"page": 1}, None, {"percent": 1}]
    warnings = [record.message for record in caplog.records if "percent=" in record.message]
    assert len(warnings) == 1
    assert f"`percent={percent!r}` was left out" in warnings[0]
    assert "20% is 0.2" in warnings[0]


REFUSED: list[tuple[str, Callable[[], None]]] = [
    ("message", lambda: kitaru.progress("")),
    ("kind", lambda: kitaru.events.publish("")),
    ("kind", lambda: kitaru.events.publish("two\nlines")),
    ("reserved", lambda: kitaru.events.publish("end")),
    ("reserved", lambda: kitaru.events.publish("gap")),
    ("reserved", lambda: kitaru.events.publish("divergence")),
    ("reserved", lambda: kitaru.events.publish("kitaru.mine")),
    ("index", lambda: kitaru.events.publish("x", index=-1)),
    ("index", lambda: kitaru.events.publish("x", index=True)),
    ("payload", lambda: kitaru.events.publish("x", ["a"])),  # pyright: ignore[reportArgumentType] - misuse
    ("correlation_id", lambda: kitaru.events.publish("x", correlation_id="")),
    ("64 KiB", lambda: kitaru.events.publish("x", {"text": "x" * 70_000})),
    ("64 KiB", lambda: kitaru.events.publish("x", {"numbers": list(range(10**6))})),
    ("64 KiB", lambda: kitaru.events.publish("x", {"text": "\0" * 20_000})),
]


@pytest.mark.parametrize(("named", "tell"), REFUSED)
def test_what_cannot_be_told_is_refused_where_it_is_given(
    named: str, tell: Callable[[], None]
) -> None:
    @flow
    def misusing() -> None:
        with pytest.raises(KitaruUsageError, match=named):
            tell()

    handle = misusing.run()
    handle.wait()

    assert told(handle) == []


@pytest.mark.parametrize("tell", [lambda: kitaru.progress("x"), lambda: kitaru.events.publish("x")])
def test_telling_outside_a_flow_says_what_to_do(tell: Callable[[], None]) -> None:
    with pytest.raises(KitaruContextError, match="outside a flow"):
        tell()


def test_telling_stops_a_body_that_is_to_stop() -> None:
    begun = threading.Event()

    @checkpoint
    def endless() -> None:
        while True:
            kitaru.progress("still here")
            begun.set()

    @flow
    def never_ending() -> None:
        endless()

    handle = never_ending.run()
    assert begun.wait(PATIENCE_SECONDS)
    handle.cancel()
    leave(handle)

    assert execution(handle).status is ExecutionStatus.CANCELLED


# --- the feed ---------------------------------------------------------------------------------


class Shelf:
    """Keeps events, or refuses them; `lets_go` holds it up."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, str]] = []
        self.pruned: list[tuple[str, int]] = []
        self.broken = False
        self.came = threading.Event()
        self.lets_go = threading.Event()
        self.lets_go.set()

    def append_events(self, events: Sequence[tuple[str, EventRecord]]) -> None:
        self.came.set()
        assert self.lets_go.wait(PATIENCE_SECONDS)
        if self.broken:
            raise KitaruBackendError("the shelf is broken")
        self.kept += [(exec_id, event.kind, event.payload) for exec_id, event in events]

    def prune_events(self, exec_id: str, *, keep: int) -> None:
        self.pruned.append((exec_id, keep))


def event(kind: str, payload: str = "{}") -> EventRecord:
    return EventRecord(kind=kind, position="", payload=payload, created_at=0)


def gap(exec_id: str, dropped: int) -> tuple[str, str, str]:
    return exec_id, "gap", json.dumps({"data": {"dropped": dropped}}, separators=(",", ":"))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_full_queue_drops_the_oldest_and_says_how_many(shelf: Shelf) -> None:
    feed = Feed(shelf, clock=FakeClock(), interval=0, capacity=2)
    shelf.lets_go.clear()
    feed.tell("a", event("stuck"))
    assert shelf.came.wait(PATIENCE_SECONDS)  # and the queue is empty again

    for kind in ("1", "2", "3"):
        feed.tell("a", event(kind))
    feed.tell("b", event("4"))
    shelf.lets_go.set()

    assert feed.flush(PATIENCE_SECONDS)
    assert shelf.kept == [
        ("a", "stuck", "{}"), gap("a", 2), ("a", "3", "{}"), ("b", "4", "{}"),
    ]  # fmt: skip
    feed.stop()


def test_queue_is_bounded_by_its_characters_too(shelf: Shelf) -> None:
    feed = Feed(shelf, clock=FakeClock(), interval=0)
    shelf.lets_go.clear()
    feed.tell("a", event("stuck"))
    assert shelf.came.wait(PATIENCE_SECONDS)

    for _ in range(3):
        feed.tell("a", event("large", "x" * (8 * 1024 * 1024)))
    shelf.lets_go.set()

    assert feed.flush(PATIENCE_SECONDS)
    assert [kind for _, kind, _ in shelf.kept] == ["stuck", "gap", "large", "large"]
    feed.stop()


def test_broken_store_is_complained_of_once_and_what_is_missing_is_told_later(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    feed = Feed(shelf, clock=FakeClock(), interval=0)
    shelf.broken = True
    with caplog.at_level(logging.WARNING, "kitaru.engine.feed"):
        for kind in ("1", "2"):
            feed.tell("a", event(kind))
            feed.flush(PATIENCE_SECONDS)
    shelf.broken = False

    feed.tell("a", event("3"))

    assert feed.flush(PATIENCE_SECONDS)
    assert shelf.kept == [gap("a", 2), ("a", "3", "{}")]
    assert [record.getMessage() for record in caplog.records] == [
        "events of runs cannot be stored, the runs go on: the shelf is broken"
    ]
    feed.stop()


def test_old_events_are_forgotten_now_and_then(shelf: Shelf) -> None:
    feed = Feed(shelf, interval=0)

    for _ in range(2_500):
        feed.tell("a", event("many"))
    feed.tell("b", event("few"))
    feed.flush(PATIENCE_SECONDS)

    assert len(shelf.kept) == 2_501
    assert set(shelf.pruned) == {("a", 10_000)}
    feed.stop()


def test_what_comes_with_every_call_waits_for_company(shelf: Shelf) -> None:
    feed = Feed(shelf, interval=0, routine_interval=PATIENCE_SECONDS * 10)
    for _ in range(3):
        feed.tell("a", event(EventKind.CHECKPOINT_RETURNED))
    assert not shelf.came.wait(0.1)

    feed.tell("a", event(EventKind.CHECKPOINT_PROGRESS))

    assert shelf.came.wait(PATIENCE_SECONDS)
    assert feed.flush(PATIENCE_SECONDS)
    assert [kind for _, kind, _ in shelf.kept] == [
        *[EventKind.CHECKPOINT_RETURNED] * 3,
        EventKind.CHECKPOINT_PROGRESS,
    ]
    feed.stop()


def test_flush_gives_up_in_time(shelf: Shelf) -> None:
    feed = Feed(shelf, interval=0)
    shelf.lets_go.clear()
    feed.tell("a", event("stuck"))

    assert not feed.flush(0.01)

    shelf.lets_go.set()
    assert feed.flush(PATIENCE_SECONDS)
    feed.stop()


def test_feed_starts_again_after_it_was_stopped(shelf: Shelf) -> None:
    feed = Feed(shelf, interval=0)
    feed.tell("a", event("1"))
    feed.stop()

    feed.tell("a", event("2"))

    assert feed.flush(PATIENCE_SECONDS)
    assert [kind for _, kind, _ in shelf.kept] == ["1", "2"]
    feed.stop()


def test_events_can_be_read_as_soon_as_they_are_flushed() -> None:
    seen: list[int] = []

    @checkpoint
    def talking() -> None:
        exec_id = kitaru.current_execution_id()
        assert exec_id is not None
        kitaru.progress("one", flush=True)
        seen.append(len(store().list_events(exec_id)))
        kitaru.events.publish("two")
        assert kitaru.events.flush()
        seen.append(len(store().list_events(exec_id)))

    @flow
    def talk() -> None:
        talking()

    talk.run().wait()

    assert seen == [1, 2]


def test_run_does_not_fail_or_wait_for_a_store_that_takes_no_events(shelf: Shelf) -> None:
    feed = runner().services.feed
    feed._sink = shelf
    shelf.broken = True

    @flow
    def telling() -> str:
        kitaru.progress("nobody will know", flush=True)
        return "done"

    handle = telling.run()

    assert handle.wait() == "done"
    feed._sink = store()
    feed.forget_run(handle.exec_id)


def test_last_events_are_stored_with_the_outcome() -> None:
    """Else a reader would be told of the end before it has been told of them."""
    feed = runner().services.feed
    feed._interval = PATIENCE_SECONDS * 10

    @flow
    def telling() -> None:
        kitaru.progress("the last word")

    handle = telling.run()
    leave(handle)

    assert execution(handle).status is ExecutionStatus.COMPLETED
    assert kinds(handle) == [EventKind.CHECKPOINT_PROGRESS]


def test_outcome_takes_what_is_queued_but_not_past_what_is_on_its_way(shelf: Shelf) -> None:
    feed = Feed(shelf, clock=FakeClock(), interval=0, capacity=2)
    shelf.lets_go.clear()
    feed.tell("a", event("first"))
    assert shelf.came.wait(PATIENCE_SECONDS)
    for kind in ("dropped", "other", "last"):
        feed.tell("b" if kind == "other" else "a", event(kind))

    assert feed.take("a") is None

    shelf.lets_go.set()
    feed.wait_stored("a", PATIENCE_SECONDS)
    feed.flush(PATIENCE_SECONDS)
    assert feed.take("a") == ()
    assert shelf.kept == [
        ("a", "first", "{}"), gap("a", 1), ("b", "other", "{}"), ("a", "last", "{}"),
    ]  # fmt: skip
    feed.stop()


def test_what_is_taken_tells_of_what_was_dropped(shelf: Shelf) -> None:
    feed = Feed(shelf, clock=FakeClock(), interval=PATIENCE_SECONDS * 10, capacity=2)
    for kind in ("1", "2", "3"):
        feed.tell("a", event(kind))

    taken = feed.take("a")

    assert taken is not None
    assert [told.kind for told in taken] == ["gap", "2", "3"]
    assert feed.flush(PATIENCE_SECONDS)
    assert shelf.kept == []
    feed.stop()


def test_feed_is_woken_after_an_outcome_has_emptied_its_queue(shelf: Shelf) -> None:
    feed = Feed(shelf, interval=0)
    for number in range(200):
        feed.tell("a", event(str(number)))
        feed.take("a")  # often before the thread has seen it

    shelf.came.clear()
    feed.tell("b", event("seen"))

    assert shelf.came.wait(PATIENCE_SECONDS)
    feed.stop()
