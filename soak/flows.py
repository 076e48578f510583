"""The flows of the mix. What each returns follows from its arguments and answers: see `expecting.py`.

Every body leaves a mark that outlives the process before it does anything, so that the checker knows how
often it ran, where, and under which claim.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path

import kitaru
from kitaru import checkpoint, flow
from kitaru.engine.context import current_call
from kitaru.retry import RetryPolicy
from soak.book import EFFECTS, Book
from soak.expecting import NOBODY, bulk, step_value

FOLDER_VARIABLE = "SOAK_DIR"

_books: dict[str, Book] = {}


class ShakyError(Exception):
    """What shaky bodies raise."""


def _effect() -> int:
    """Leave the mark that a body has begun; return which attempt it is."""
    active = current_call.get()
    assert active is not None
    run = active.call.scope.run
    folder = os.environ[FOLDER_VARIABLE]
    _books.setdefault(folder, Book(Path(folder))).add(
        EFFECTS,
        exec_id=run.exec_id,
        position=active.call.position,
        attempt=active.attempt,
        epoch=run.epoch,
    )
    return active.attempt


@checkpoint
def step(number: int, milliseconds: int) -> int:
    _effect()
    time.sleep(milliseconds / 1000)
    return step_value(number)


@checkpoint
async def async_step(number: int, milliseconds: int) -> int:
    _effect()
    await asyncio.sleep(milliseconds / 1000)
    return step_value(number)


@checkpoint(retries=RetryPolicy(max_attempts=3, delay=0.05))
def shaky_step(number: int, failures: int) -> int:
    attempt = _effect()
    if attempt <= failures:
        raise ShakyError(attempt)
    return step_value(number)


@checkpoint
def fragile_step(number: int) -> int:
    if _effect() == 1:
        raise ShakyError(1)
    return step_value(number)


@checkpoint
def large_step(number: int, kib: int) -> bytes:
    _effect()
    return bulk(number, kib)


@checkpoint
def digest_step(value: bytes) -> str:
    _effect()
    return hashlib.sha256(value).hexdigest()


@flow
def sequential(number: int, count: int, milliseconds: int) -> int:
    for _ in range(count):
        number = step(number, milliseconds)
    return number


@flow
def fan_out(number: int, width: int, milliseconds: int) -> int:
    submitted = [step.submit(number + index, milliseconds) for index in range(width)]
    mapped = step.map([number - index for index in range(width)], milliseconds)
    return sum(future.result() for future in submitted) + sum(mapped.result())


@flow
async def gathered(number: int, width: int, milliseconds: int) -> int:
    first = await asyncio.gather(
        *(async_step(number + index, milliseconds) for index in range(width))
    )
    return sum(first) + await async_step(number, 1)


@flow
def family(number: int, children: int, milliseconds: int) -> int:
    handles = [sequential.run(number + index, 2, milliseconds) for index in range(children)]
    return sum(handle.wait() for handle in handles) + step(number, 1)


@flow
def shaky(number: int, failures: int) -> int:
    return shaky_step(number, failures) + step(number, 1)


@flow
def doomed(number: int) -> int:
    return step(number, 1) + shaky_step(number, 99)


@flow(retries=1)
def second_try(number: int) -> int:
    return step(number, 1) + fragile_step(number)


@flow
def sleeper(number: int, seconds: float) -> int:
    number = step(number, 1)
    kitaru.sleep(seconds)
    return step(number, 1)


@flow
def asks(number: int) -> int:
    number = step(number, 1)
    answer = kitaru.wait(schema=int, name="number", question="Which number?")
    return step(number + answer, 1)


@flow
def asks_nobody(number: int) -> int:
    return step(number, 1) + kitaru.wait(schema=int, name="number", question=NOBODY)


@flow
def asks_briefly(number: int, seconds: float) -> int:
    answer = kitaru.wait(
        schema=int, name="number", question="Which number, soon?", expires=seconds, on_expire=-1
    )
    return step(number + answer, 1)


@flow
def expires(number: int, seconds: float) -> int:
    answer = kitaru.wait(schema=int, name="number", question=NOBODY, expires=seconds, on_expire=-1)
    return step(number + answer, 1)


@flow
def may_be_aborted(number: int) -> int:
    try:
        answer = kitaru.wait(schema=int, name="abort", question="Which number, if any?")
    except kitaru.KitaruWaitAbortedError:
        return step(number, 1)
    return step(number + answer, 1)


@flow
async def committee(number: int, size: int) -> int:
    async def vote(index: int) -> int:
        return await kitaru.wait.aio(schema=int, name=f"vote{index}", question="Your vote?")

    votes = await asyncio.gather(*(vote(index) for index in range(size)))
    return await async_step(number + sum(votes), 1)


@flow
def large(number: int, kib: int) -> str:
    return digest_step(large_step(number, kib))


@flow
def large_result(number: int, kib: int) -> bytes:
    return large_step(number, kib)


@flow
def long_one(number: int, count: int, milliseconds: int) -> int:
    for _ in range(count):
        number = step(number, milliseconds)
        kitaru.sleep(0.02)
    return number
