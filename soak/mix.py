"""Which flows are ordered, in which order and with which arguments: always the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# A sleep beyond a minute is a timer that the execution leaves its process for at once.
_LONG_SLEEP_SECONDS = (61.0, 75.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A flow to start.

    Attributes:
        key: Its idempotency key.
        is_twice: Whether it is submitted a second time at the same moment.
        cancel_after: After how many seconds someone wants it cancelled.
    """

    key: str
    flow: str
    arguments: Mapping[str, Any]
    is_twice: bool = False
    cancel_after: float | None = None


Arguments = Callable[[random.Random], dict[str, Any]]


def _milliseconds(chance: random.Random) -> int:
    return chance.choice((0, 1, 5, 20, 80))


# The weight of each flow, and its arguments besides its number.
_KINDS: Mapping[str, tuple[int, Arguments]] = {
    "sequential": (20, lambda c: {"count": c.randint(1, 8), "milliseconds": _milliseconds(c)}),
    "fan_out": (12, lambda c: {"width": c.randint(2, 8), "milliseconds": _milliseconds(c)}),
    "gathered": (12, lambda c: {"width": c.randint(2, 8), "milliseconds": _milliseconds(c)}),
    "family": (8, lambda c: {"children": c.randint(1, 3), "milliseconds": _milliseconds(c)}),
    "shaky": (8, lambda c: {"failures": c.randint(0, 2)}),
    "doomed": (3, lambda _: {}),
    "second_try": (5, lambda _: {}),
    "sleeper": (8, lambda c: {"seconds": round(c.uniform(0.1, 5.0), 2)}),
    "asks": (8, lambda _: {}),
    "asks_briefly": (4, lambda c: {"seconds": round(c.uniform(0.2, 4.0), 2)}),
    "expires": (4, lambda c: {"seconds": round(c.uniform(0.2, 4.0), 2)}),
    "may_be_aborted": (4, lambda _: {}),
    "committee": (4, lambda c: {"size": c.randint(2, 4)}),
    "large": (5, lambda c: {"kib": c.randint(33, 200)}),
    "large_result": (4, lambda c: {"kib": c.randint(33, 200)}),
    "long_one": (6, lambda c: {"count": c.randint(5, 30), "milliseconds": 30}),
}
_NAMES = tuple(_KINDS)
_WEIGHTS = tuple(weight for weight, _ in _KINDS.values())
# Too rare for a weight: one of so many.
_LONG_SLEEP_EVERY = 60
_UNANSWERED_EVERY = 250


def orders(seed: int) -> Iterator[Order]:
    """Return orders without an end."""
    chance = random.Random(seed)
    index = 0
    while True:
        index += 1
        yield _order(chance, index)


def _order(chance: random.Random, index: int) -> Order:
    [flow] = chance.choices(_NAMES, _WEIGHTS)
    more = _KINDS[flow][1](chance)
    if index % _LONG_SLEEP_EVERY == 7:
        flow, more = "sleeper", {"seconds": round(chance.uniform(*_LONG_SLEEP_SECONDS), 1)}
    elif index % _UNANSWERED_EVERY == 11:
        flow, more = "asks_nobody", {}
    return Order(
        key=f"order-{index}",
        flow=flow,
        arguments={"number": chance.randrange(1_000_000), **more},
        is_twice=chance.random() < 0.15,
        cancel_after=round(chance.uniform(0.0, 3.0), 2) if chance.random() < 0.07 else None,
    )
