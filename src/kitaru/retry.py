"""When to try a failed call again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NoReturn, TypeGuard, cast

from kitaru.errors import KitaruUsageError

ExceptionTypes = tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, how soon and after which exceptions a checkpoint's body is tried again.

    The delay before attempt `n + 1` is `delay * backoff ** (n - 1)` seconds, at most `max_delay`, then
    varied by up to `jitter` of itself in both directions so that many failures do not come back at once.

    Attributes:
        max_attempts: Attempts in all, the first included.
        delay: Seconds before the second attempt.
        backoff: Factor from one delay to the next.
        max_delay: Upper bound of a delay in seconds, before jitter.
        jitter: Fraction of the delay, from 0 to 1.
        retry_on: Only instances of these are tried again.
        give_up_on: Instances of these are not, even if `retry_on` has them.
    """

    max_attempts: int = 3
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.1
    retry_on: ExceptionTypes | type[BaseException] = (Exception,)
    give_up_on: ExceptionTypes | type[BaseException] = ()

    def __post_init__(self) -> None:
        if not _is_whole_number(self.max_attempts):
            _refuse("max_attempts", "a positive integer", self.max_attempts)
        if self.max_attempts < 1:
            _refuse("max_attempts", "a positive integer", self.max_attempts)
        for name in ("delay", "max_delay"):
            if not _is_number(getattr(self, name)) or getattr(self, name) < 0:
                _refuse(name, "a number of seconds, not negative", getattr(self, name))
        if not _is_number(self.backoff) or self.backoff < 1:
            _refuse("backoff", "a number not below 1", self.backoff)
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            _refuse("jitter", "a number from 0 to 1", self.jitter)
        for name in ("retry_on", "give_up_on"):
            object.__setattr__(self, name, _exception_types(name, getattr(self, name)))

    @classmethod
    def of(cls, retries: int | RetryPolicy) -> RetryPolicy:
        """Return the policy that `retries=` means: a number is that many immediate further attempts.

        Raises:
            KitaruUsageError: `retries` is negative or of another type.
        """
        if isinstance(retries, RetryPolicy):
            return retries
        if not _is_whole_number(retries):
            _refuse("retries", "a number of further attempts or a `RetryPolicy`", retries)
        if retries < 0:
            _refuse("retries", "0 or more", retries)
        return NO_RETRY if retries == 0 else cls(max_attempts=retries + 1, delay=0.0)

    def delay_after(self, attempt: int, error: BaseException) -> float | None:
        """Return the seconds to wait after failed attempt number `attempt` (from 1), or None to give up."""
        if attempt >= self.max_attempts:
            return None
        if not isinstance(error, self.retry_on) or isinstance(error, self.give_up_on):
            return None
        try:
            delay = min(self.delay * self.backoff ** (attempt - 1), self.max_delay)
        except OverflowError:
            delay = self.max_delay
        return delay * (1 + self.jitter * random.uniform(-1, 1))  # noqa: S311 - spreads load, hides nothing


def _is_whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _exception_types(name: str, value: object) -> ExceptionTypes:
    entries = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    types = tuple(entry for entry in entries if _is_exception_type(entry))
    if len(types) < len(entries):
        _refuse(name, "exception types", cast("object", value))
    return types


def _is_exception_type(entry: object) -> TypeGuard[type[BaseException]]:
    return isinstance(entry, type) and issubclass(entry, BaseException)


def _refuse(name: str, expected: str, value: object) -> NoReturn:
    message = f"expected `{name}` to be {expected}, got: {value!r}"
    raise KitaruUsageError(message)


NO_RETRY = RetryPolicy(max_attempts=1, delay=0.0)
