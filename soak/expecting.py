"""What each flow of the mix must come to, said without Kitaru."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

NOBODY = "Which number? (Nobody answers this.)"

COMPLETED, FAILED, CANCELLED, WAITING = "completed", "failed", "cancelled", "waiting"

Answers = Sequence[int | None]
"""What the questions of an execution were answered, those that expired or were aborted with None."""


def step_value(number: int) -> int:
    """Return what a step makes of a number."""
    return (number * 31 + 7) % 1_000_003


def bulk(number: int, kib: int) -> bytes:
    """Return a value that is another one for each number."""
    return hashlib.sha256(str(number).encode()).digest() * (kib * 32)


def is_expected(
    flow: str, arguments: Mapping[str, Any], answers: Answers, status: str, result: object
) -> bool:
    """Whether an execution that nobody has cancelled may have come to this."""
    if flow == "doomed":
        return status == FAILED
    if flow == "asks_nobody":
        return status == WAITING
    return status == COMPLETED and result == digest_of(_RESULTS[flow](answers, **arguments))


def digest_of(value: object) -> str:
    """Return what the books say of a value, however large it is."""
    data = value if isinstance(value, bytes) else repr(value).encode()
    return hashlib.sha256(data).hexdigest()


def _steps(number: int, count: int) -> int:
    for _ in range(count):
        number = step_value(number)
    return number


def _sequential(_: Answers, number: int, count: int, milliseconds: int) -> int:
    del milliseconds
    return _steps(number, count)


def _fan_out(_: Answers, number: int, width: int, milliseconds: int) -> int:
    del milliseconds
    indexes = range(width)
    return sum(step_value(number + index) + step_value(number - index) for index in indexes)


def _gathered(_: Answers, number: int, width: int, milliseconds: int) -> int:
    del milliseconds
    return sum(step_value(number + index) for index in range(width)) + step_value(number)


def _family(_: Answers, number: int, children: int, milliseconds: int) -> int:
    del milliseconds
    return sum(_steps(number + index, 2) for index in range(children)) + step_value(number)


def _answered(answers: Answers, number: int) -> int:
    [answer] = answers
    return step_value(number + (-1 if answer is None else answer))


def _aborted(answers: Answers, number: int) -> int:
    [answer] = answers
    return step_value(number + (0 if answer is None else answer))


def _committee(answers: Answers, number: int, size: int) -> int:
    votes = [answer for answer in answers if answer is not None]
    assert len(votes) == size, f"{len(votes)} of {size} votes"
    return step_value(number + sum(votes))


_RESULTS: Mapping[str, Callable[..., object]] = {
    "sequential": _sequential,
    "long_one": _sequential,
    "fan_out": _fan_out,
    "gathered": _gathered,
    "family": _family,
    "shaky": lambda _, number, **_more: 2 * step_value(number),
    "second_try": lambda _, number: 2 * step_value(number),
    "sleeper": lambda _, number, **_more: _steps(number, 2),
    "asks": lambda answers, number: _answered(answers, step_value(number)),
    "asks_briefly": lambda answers, number, **_more: _answered(answers, number),
    "expires": lambda answers, number, **_more: _answered(answers, number),
    "may_be_aborted": _aborted,
    "committee": _committee,
    "large": lambda _, number, kib: hashlib.sha256(bulk(number, kib)).hexdigest(),
    "large_result": lambda _, number, kib: bulk(number, kib),
}
