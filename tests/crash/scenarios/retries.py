"""Attempts that fail and are tried again after a delay."""

from __future__ import annotations

import kit

import kitaru
from kitaru import RetryPolicy, checkpoint, flow

PATIENT = RetryPolicy(max_attempts=3, delay=0.01, backoff=1, jitter=0)


def attempt() -> int:
    call = kitaru.current_call()
    assert call is not None
    return call.attempt


@checkpoint(retries=PATIENT)
def flaky(number: int) -> int:
    kit.effect(f"flaky {number} {attempt()}")
    if attempt() < 3:
        raise ConnectionError(number)
    return number


@checkpoint(retries=1)
async def shaky(number: int) -> int:
    kit.effect(f"shaky {number} {attempt()}")
    if attempt() < 2:
        raise ConnectionError(number)
    return number


@flow
async def persistent() -> list[int]:
    return [flaky(1), await shaky(2), await shaky(3)]


if __name__ == "__main__":
    kit.play(persistent)
