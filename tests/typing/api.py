"""What type checkers say about programs that use Kitaru: for `make types`, never executed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_type

import kitaru
from kitaru import (
    CheckpointFuture,
    ExecutionEvent,
    Flow,
    FlowHandle,
    RetryPolicy,
    checkpoint,
    flow,
)
from kitaru.events import EventKind


@checkpoint
def fetch(url: str, depth: int = 1) -> bytes:
    return url.encode() * depth


@checkpoint(retries=RetryPolicy(max_attempts=2), type="tool_call", cache=True)
def measure(page: bytes) -> int:
    return len(page)


@checkpoint
async def ask(question: str) -> list[str]:
    return [question]


@flow
def plain(x: int) -> str:
    page = fetch("a", depth=x)
    assert_type(page, bytes)
    assert_type(fetch("a", id="first", after=None), bytes)
    assert_type(measure(page), int)

    future = fetch.submit("a")
    assert_type(future, CheckpointFuture[bytes])
    assert_type(future.result(), bytes)
    assert_type(future.result(timeout=1.0), bytes)
    assert_type(future.load(), bytes)
    assert_type(future.done(), bool)
    assert_type(future.exception(), BaseException | None)
    assert_type(future.call_id, str)

    pages = fetch.map(["a", "b"])
    assert_type(pages.result(), list[bytes])
    assert_type(pages.load(), list[bytes])
    assert_type(pages[0], CheckpointFuture[bytes])
    assert_type(fetch.product(["a"], [1, 2], max_concurrency=4).result(), list[bytes])
    return str(x)


@flow(retries=1, cache=False)
def configured(x: int, *, y: str = "") -> float:
    return x + len(y)


@flow
async def asynchronous(x: int) -> str:
    assert_type(await ask("why"), list[str])
    future = ask.submit("why")
    assert_type(future, CheckpointFuture[list[str]])
    assert_type(await future, list[str])
    assert_type(fetch("a"), bytes)
    return str(x)


@flow
def waiting() -> bool:
    assert_type(kitaru.wait(schema=bool, name="a", question="b"), bool)
    assert_type(kitaru.wait(), None)
    assert_type(kitaru.wait(schema=list[int], expires=60, on_expire=[1]), list[int])
    assert_type(kitaru.sleep(1.5), None)
    return kitaru.wait(schema=bool)


@flow
async def waiting_too() -> bool:
    assert_type(await kitaru.wait.aio(schema=str), str)
    assert_type(await kitaru.wait.aio(), None)
    await kitaru.sleep.aio(until=datetime.now(UTC))
    return await kitaru.wait.aio(schema=bool)


def from_plain_code() -> None:
    as_promised: Flow[[int], str] = plain
    handle = as_promised.run(1)
    assert_type(plain.run(1), FlowHandle[str])
    assert_type(handle.wait(), str)
    assert_type(handle.wait(timeout=1.0), str)
    assert_type(handle.get(), str)
    assert_type(handle.exec_id, str)
    assert_type(configured.run(1, y="a"), FlowHandle[float])
    assert_type(asynchronous.run(1), FlowHandle[str])
    assert_type(asynchronous.run(1).wait(), str)

    assert_type(plain.replay("id", from_="fetch", overrides={"wait.a": 1}, x=2), FlowHandle[str])
    assert_type(handle.input("approve", value=True), None)
    assert_type(list(handle.events(kinds=[EventKind.CHECKPOINT_PROGRESS])), list[ExecutionEvent])
    assert_type(kitaru.progress("half", percent=0.5, pages=3), None)
    assert_type(kitaru.events.publish("search.hit", {"url": "…"}), None)
    assert_type(kitaru.events.flush(), bool)

    fetch(1)  # pyright: ignore[reportArgumentType] - arguments of a checkpoint are checked


async def from_async_code() -> None:
    assert_type(await plain.run(1), str)
    assert_type(await asynchronous.run(1), str)
