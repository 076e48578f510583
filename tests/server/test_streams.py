"""Live streams: nothing missed, nothing twice, nobody held up."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any, Protocol

import httpx
import pytest

from kitaru.model import ExecutionRecord
from kitaru.server import create_app
from kitaru.server.calls import Calls
from kitaru.server.refusal import Refusal
from kitaru.server.running import HttpServer, bind
from kitaru.server.streams import Batch, EventStream, Streams, message
from kitaru.settings import Settings
from kitaru.store.sqlite import SQLiteStore
from tests.server.serving import DEADLINE_SECONDS, RunningServer, serving, wait_until
from tests.store.records import commit_one, completed, create, entry, event, finish, log_line, run

API = "/api/v1/executions"
SSE = {"Accept": "text/event-stream"}
TIMEOUT = httpx.Timeout(DEADLINE_SECONDS)


def tell(store: SQLiteStore, execution: ExecutionRecord, *numbers: int) -> None:
    store.append_events(
        [(execution.id, event("step", payload=json.dumps({"n": n}))) for n in numbers]
    )


def end(store: SQLiteStore, execution: ExecutionRecord) -> None:
    commit_one(store, entry(execution, outcome=completed()))


Message = dict[str, str]


def messages(lines: Iterator[str]) -> Iterator[Message]:
    """Yield the messages of a stream, without its remarks."""
    found: Message = {}
    for line in lines:
        if not line and found:
            yield found
            found = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            found[name] = value


def listen(
    server: RunningServer, path: str, *, last: str | None = None, most: int | None = None
) -> list[Message]:
    """Return what a stream says until it ends, or until so many messages have come."""
    headers = SSE if last is None else {**SSE, "Last-Event-ID": last}
    found: list[Message] = []
    with httpx.stream(
        "GET", f"{server.url}{API}/{path}", headers=headers, timeout=TIMEOUT
    ) as answer:
        if answer.status_code == 204:
            return found
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        for one in messages(answer.iter_lines()):
            found.append(one)
            if len(found) == most:
                break
    return found


def ids(found: list[Message]) -> list[str]:
    return [one["id"] for one in found if "id" in one]


def kinds(found: list[Message]) -> list[Any]:
    return [one.get("event") or json.loads(one["data"])["kind"] for one in found]


class Reached(Protocol):
    url: str


class Listener:
    """Somebody who listens in a thread of its own."""

    def __init__(self, server: Reached, path: str) -> None:
        self.found: list[Message] = []
        self.is_over = False
        self._thread = threading.Thread(target=self._listen, args=(server, path), daemon=True)
        self._thread.start()

    def _listen(self, server: Reached, path: str) -> None:
        with httpx.stream(
            "GET", f"{server.url}{API}/{path}", headers=SSE, timeout=TIMEOUT
        ) as answer:
            for one in messages(answer.iter_lines()):
                self.found.append(one)
        self.is_over = True

    def wait(self) -> None:
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()


class Changes:
    """A runner that listens to what has changed, in a thread of its own."""

    def __init__(self, server: Reached) -> None:
        self.has_begun = False
        self._thread = threading.Thread(target=self._listen, args=(server,), daemon=True)
        self._thread.start()

    def _listen(self, server: Reached) -> None:
        with httpx.stream("GET", f"{server.url}/api/v1/changes", timeout=TIMEOUT) as answer:
            for _ in answer.iter_lines():
                self.has_begun = True

    def wait(self) -> None:
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()


def test_a_listener_hears_what_was_told_and_what_is_told_until_the_end(
    behind: SQLiteStore, server: RunningServer
) -> None:
    execution = run(behind)
    tell(behind, execution, 1, 2)
    listeners = [Listener(server, f"{execution.id}/events") for _ in range(3)]
    for number in (3, 4, 5):
        so_far = number - 1
        wait_until(lambda so_far=so_far: all(len(one.found) == so_far for one in listeners))
        tell(behind, execution, number)
    wait_until(lambda: all(len(one.found) == 5 for one in listeners))
    end(behind, execution)

    for one in listeners:
        one.wait()
        assert kinds(one.found) == ["step"] * 5 + ["kitaru.execution.completed", "end"]
        assert len(set(ids(one.found))) == 6


def test_a_listener_that_comes_back_misses_nothing_and_hears_nothing_twice(
    behind: SQLiteStore, server: RunningServer
) -> None:
    execution = run(behind)
    tell(behind, execution, *range(7))
    heard: list[Message] = []
    for _ in range(3):
        heard += listen(
            server, f"{execution.id}/events", last=ids(heard)[-1] if heard else None, most=2
        )
    tell(behind, execution, 7)
    end(behind, execution)

    heard += listen(server, f"{execution.id}/events", last=ids(heard)[-1])

    told = [json.loads(one["data"]) for one in heard[:-1]]
    assert [one["cursor"] for one in told] == ids(heard)
    assert kinds(heard) == ["step"] * 8 + ["kitaru.execution.completed", "end"]
    assert len(set(ids(heard))) == 9


@pytest.mark.parametrize("kind", ["events", "logs"])
def test_a_listener_that_has_heard_everything_is_not_to_come_back(
    behind: SQLiteStore, server: RunningServer, kind: str
) -> None:
    execution = finish(behind)
    behind.append_logs([log_line(execution.id, "hello")])
    heard = listen(server, f"{execution.id}/{kind}")

    again = listen(server, f"{execution.id}/{kind}", last=ids(heard)[-1])

    assert heard[-1] == {"event": "end", "data": "{}"}
    assert (len(heard), again) == (2, [] if kind == "events" else [heard[-1]])


def test_a_log_is_followed_from_where_the_listener_was(
    behind: SQLiteStore, server: RunningServer
) -> None:
    execution = run(behind)
    behind.append_logs([log_line(execution.id, f"line {number}") for number in range(3)])
    first = listen(server, f"{execution.id}/logs", most=2)
    behind.append_logs([log_line(execution.id, "line 3")])
    end(behind, execution)

    rest = listen(server, f"{execution.id}/logs", last=ids(first)[-1])

    said = [json.loads(one["data"]).get("message") for one in [*first, *rest]]
    assert said == ["line 0", "line 1", "line 2", "line 3", None]


def test_filters_apply_to_streams_and_bad_ones_are_refused_before_they_begin(
    behind: SQLiteStore, server: RunningServer
) -> None:
    execution = run(behind)
    tell(behind, execution, 1)
    end(behind, execution)
    path = f"{server.url}{API}/{execution.id}/events"

    ended = listen(server, f"{execution.id}/events?kinds=kitaru.execution.completed")
    bad_cursor = httpx.get(path, headers={**SSE, "Last-Event-ID": "1-abcdefabcdef"})
    bad_kind = httpx.get(path, headers=SSE, params={"kinds": ""})
    unknown = httpx.get(f"{server.url}{API}/none/events", headers=SSE)

    assert kinds(ended) == ["kitaru.execution.completed", "end"]
    assert [one.status_code for one in (bad_cursor, bad_kind, unknown)] == [422, 422, 404]


def streams_of(server: RunningServer) -> Streams:
    assert server.app is not None
    found: Streams = server.app.state.serving.streams
    return found


def test_a_listener_that_goes_away_is_forgotten(behind: SQLiteStore, server: RunningServer) -> None:
    execution = run(behind)
    tell(behind, execution, 1)

    listen(server, f"{execution.id}/events", most=1)

    wait_until(lambda: streams_of(server).count == 0)


def test_a_server_that_stops_lets_its_listeners_go(
    behind: SQLiteStore, server_settings: Settings
) -> None:
    execution = run(behind)
    tell(behind, execution, 1)
    stopping = HttpServer(server_settings, bind("127.0.0.1", 0))
    stopping.start()
    listener = Listener(stopping, f"{execution.id}/events")
    changes = Changes(stopping)
    wait_until(lambda: len(listener.found) == 1 and changes.has_begun)

    stopping.stop()

    listener.wait()
    changes.wait()
    assert (listener.is_over, len(listener.found)) == (True, 1)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{stopping.url}/healthz")


def test_a_stream_goes_on_at_another_server_of_the_same_store(
    behind: SQLiteStore, server: RunningServer, server_settings: Settings
) -> None:
    execution = run(behind)
    tell(behind, execution, 1, 2)
    heard = listen(server, f"{execution.id}/events", most=1)
    end(behind, execution)

    with serving(lambda: create_app(server_settings, store=behind)) as other:
        heard += listen(other, f"{execution.id}/events", last=ids(heard)[-1])

    assert kinds(heard) == ["step", "step", "kitaru.execution.completed", "end"]


# --- in one loop, without a network ----------------------------------------------------------


def test_who_listens_slowly_holds_one_page_and_no_thread(behind: SQLiteStore) -> None:
    reads = list[int]()

    def read() -> Batch:
        reads.append(len(reads))
        return Batch(messages=message("1", b"x" * 1000), cursor=len(reads), has_more=True)

    async def listen_slowly() -> int:
        calls = Calls(most=1)
        streams = Streams(behind, calls)
        stuck = asyncio.Event()
        taken = 0

        async def send(part: Any) -> None:
            nonlocal taken
            if part["type"] == "http.response.body":
                taken += 1
                if taken == 3:
                    stuck.set()
                    await asyncio.Event().wait()  # a socket whose other end takes nothing

        response = EventStream(streams.follow("x", "events", read(), read), stalled_seconds=0.1)
        answering = asyncio.create_task(response.stream_response(send))
        await stuck.wait()
        free = await calls.run(lambda: True)  # the one thread that there is has nothing to do
        assert free
        await asyncio.wait_for(answering, DEADLINE_SECONDS)  # given up, and nothing raised
        calls.close()
        return streams.count

    assert asyncio.run(listen_slowly()) == 0
    assert len(reads) == 3


def test_a_silent_stream_says_that_it_is_alive(behind: SQLiteStore) -> None:
    execution = run(behind)

    async def first_words() -> bytes:
        calls = Calls(most=2)
        streams = Streams(behind, calls, keep_alive_seconds=0.01)
        nothing = Batch(messages=b"", cursor=0)
        stream = streams.follow(execution.id, "events", nothing, lambda: nothing)
        words = await anext(stream)
        await stream.aclose()
        calls.close()
        return words

    assert asyncio.run(first_words()) == b": still here\n\n"


def test_there_are_only_so_many_streams(behind: SQLiteStore) -> None:
    async def fill() -> None:
        calls = Calls(most=1)
        streams = Streams(behind, calls, most=1)
        something = Batch(messages=b"data: 1\n\n", cursor=1)
        stream = streams.follow("x", "events", something, lambda: something)
        streams.check_room()
        await anext(stream)
        with pytest.raises(Refusal) as refused:
            streams.check_room()
        assert refused.value.status_code == 503
        await stream.aclose()
        streams.check_room()
        calls.close()

    asyncio.run(fill())


def test_a_server_that_stops_finishes_what_it_has_begun(
    behind: SQLiteStore, server_settings: Settings
) -> None:
    execution = create(behind)
    stopping = HttpServer(server_settings, bind("127.0.0.1", 0))
    stopping.start()
    answers: list[httpx.Response] = []
    path = f"{stopping.url}{API}/{execution.id}/cancel"
    asking = threading.Thread(
        target=lambda: answers.append(httpx.post(path, timeout=TIMEOUT)), daemon=True
    )
    writer = sqlite3.connect(behind.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")  # whoever wants to write waits for this one
    asking.start()
    wait_until(lambda: stopping.under_way == 1)

    ending = threading.Thread(target=stopping.stop, daemon=True)
    ending.start()
    wait_until(lambda: not reaches(stopping.url))
    writer.execute("COMMIT")
    writer.close()
    asking.join(DEADLINE_SECONDS)
    ending.join(DEADLINE_SECONDS)

    assert [(one.status_code, one.json()["status"]) for one in answers] == [(200, "cancelled")]
    assert not ending.is_alive()


def reaches(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz")
    except httpx.TransportError:  # refused, or reset while it was in the queue
        return False
    return True
