"""`kitaru.wait` and `kitaru.sleep`: flows that stop for a person or a clock without holding anything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Never, TypeVar, overload

from kitaru import schemas
from kitaru.authoring.functions import check_name, check_text
from kitaru.clock import from_datetime
from kitaru.engine.calls import Call, CheckpointSpec, kind_prefix
from kitaru.engine.context import flow_scope
from kitaru.engine.drive import adrive, drive
from kitaru.engine.protocol import Steps, settle
from kitaru.engine.scope import Scope
from kitaru.engine.waits import Ask, run_sleep, run_wait
from kitaru.errors import KitaruContextError, KitaruUsageError
from kitaru.model import CallKind
from kitaru.retry import NO_RETRY

T = TypeVar("T")
UserValue = Any

DEFAULT_TIMEOUT_SECONDS = 600
"""How long the process stays for an answer before the execution leaves it."""


class Wait:
    """Asks a question and returns the answer. In async flows: `await kitaru.wait.aio(...)`."""

    @overload
    def __call__(
        self,
        *,
        schema: None = None,
        name: str | None = None,
        question: str | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        metadata: Mapping[str, UserValue] | None = None,
        expires: float | timedelta | datetime | None = None,
        on_expire: UserValue = None,
    ) -> None: ...
    @overload
    def __call__(
        self,
        *,
        schema: type[T],
        name: str | None = None,
        question: str | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        metadata: Mapping[str, UserValue] | None = None,
        expires: float | timedelta | datetime | None = None,
        on_expire: T | None = None,
    ) -> T: ...
    @overload
    def __call__(
        self,
        *,
        schema: object,
        name: str | None = None,
        question: str | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        metadata: Mapping[str, UserValue] | None = None,
        expires: float | timedelta | datetime | None = None,
        on_expire: UserValue = None,
    ) -> UserValue: ...
    def __call__(
        self,
        *,
        schema: object = None,
        name: str | None = None,
        question: str | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        metadata: Mapping[str, UserValue] | None = None,
        expires: float | timedelta | datetime | None = None,
        on_expire: UserValue = None,
    ) -> UserValue:
        """Ask a question, wait for its answer however long it takes, and return the answer.

        The question is durable before anyone is asked. Meanwhile the execution is `waiting` and holds
        nothing; the process stays for `timeout` seconds to go on at once, then the execution leaves it.
        An answer (`kitaru executions input`, `handle.input`, `client.executions.input`, the prompt in a
        terminal) makes it go on, in this process or in another one.

        Args:
            schema: The type of the answer: anything that pydantic can describe, or a JSON Schema. None
                asks for no value, only to go on; the wait then returns None.
            name: What the wait is called by those who answer; `wait` if not given. Used twice, the
                second is `name-2`.
            question: The text that is shown.
            timeout: Seconds for which the process stays. It is no deadline.
            metadata: JSON values shown with the question.
            expires: A deadline: seconds from now, or a moment.
            on_expire: What the wait returns if nobody has answered by then.

        Returns:
            The answer, validated and of the declared type; the same object's value on every recovery.

        Durability: the question is one commit, which also parks the execution; the answer is durable when
        it is given, and its value once more when the flow takes it up.

        Raises:
            KitaruWaitAbortedError: Someone aborted the wait.
            KitaruWaitExpiredError: Nobody answered before `expires`, and `on_expire` is not given.
            KitaruContextError: Used outside a flow, inside a checkpoint, or in an async flow.
            KitaruUsageError: JSON Schema cannot express `schema`, or an option is not acceptable.
        """
        scope = _blocking_scope("kitaru.wait()", "await kitaru.wait.aio(...)")
        call, ask = _question(scope, schema, name, question, timeout, metadata, expires, on_expire)
        return _drive(call, run_wait(call, ask))

    @overload
    async def aio(
        self,
        *,
        schema: None = None,
        name: str | None = None,
        question: str | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        metadata: Mapping[str, UserValue] | None = None,
        expires: float | timedelta | datetime | None = None,
        on_expire: UserValue = None,
    ) -> None: ...
    @overload
    async def aio(
        self,
        *,
        schema: type[T],
        name: str | None = None,
        question: str | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        metadata: Mapping[str, UserValue] | None = None,
        expires: float | timedelta | datetime | None = None,
        on_expire: T | None = None,
    ) -> T: ...
    @overload
    async def aio(
        self,
        *,
        schema: object,
        name: str | None = None,
        question: str | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        metadata: Mapping[str, UserValue] | None = None,
        expires: float | timedelta | datetime | None = None,
        on_expire: UserValue = None,
    ) -> UserValue: ...
    async def aio(
        self,
        *,
        schema: object = None,
        name: str | None = None,
        question: str | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        metadata: Mapping[str, UserValue] | None = None,
        expires: float | timedelta | datetime | None = None,
        on_expire: UserValue = None,
    ) -> UserValue:
        """Do what calling does, in an async flow; several waits may be open at once."""
        scope = flow_scope("kitaru.wait.aio()")
        call, ask = _question(scope, schema, name, question, timeout, metadata, expires, on_expire)
        return await _adrive(call, run_wait(call, ask))

    def __repr__(self) -> str:
        return "<function kitaru.wait>"


class Sleep:
    """Lets time pass, over crashes and restarts. In async flows: `await kitaru.sleep.aio(...)`."""

    def __call__(
        self,
        seconds: float | timedelta | None = None,
        *,
        until: datetime | None = None,
        name: str | None = None,
    ) -> None:
        """Let time pass, counted from when this line was first reached, whatever happens meanwhile.

        Up to a minute is slept in place. For longer the execution becomes `waiting`, leaves the process
        and is woken when the time has come.

        Args:
            seconds: How long.
            until: Until which moment (aware `datetime`), instead.
            name: What the sleep is called in lists; `sleep` if not given.

        Durability: the moment to wake at is one commit, and that it has come another.

        Raises:
            KitaruContextError: Used outside a flow, inside a checkpoint, or in an async flow.
            KitaruUsageError: Not exactly one of `seconds` and `until` is given, or it is not acceptable.
        """
        scope = _blocking_scope("kitaru.sleep()", "await kitaru.sleep.aio(...)")
        call, length = _timer(scope, seconds, until, name)
        _drive(call, run_sleep(call, length))

    async def aio(
        self,
        seconds: float | timedelta | None = None,
        *,
        until: datetime | None = None,
        name: str | None = None,
    ) -> None:
        """Do what calling does, in an async flow."""
        scope = flow_scope("kitaru.sleep.aio()")
        call, length = _timer(scope, seconds, until, name)
        await _adrive(call, run_sleep(call, length))

    def __repr__(self) -> str:
        return "<function kitaru.sleep>"


wait = Wait()
sleep = Sleep()


def _blocking_scope(what: str, instead: str) -> Scope:
    scope = flow_scope(what)
    if scope.run.loop is not None:
        message = f"{what} would block the event loop that this flow runs on. Use `{instead}` in async flows."
        raise KitaruContextError(message)
    return scope


def _question(
    scope: Scope,
    schema: object,
    name: str | None,
    question: str | None,
    timeout: float | timedelta,
    metadata: Mapping[str, UserValue] | None,
    expires: float | timedelta | datetime | None,
    on_expire: UserValue,
) -> tuple[Call, Ask]:
    ask = Ask(
        expected=schema,
        schema=schemas.schema_of(schema),
        question=None if question is None else check_text("`question`", question),
        metadata=_metadata(metadata),
        timeout=_seconds("timeout", timeout),
        wake_at=None if expires is None else _moment(scope, expires),
        on_expire=on_expire,
    )
    if on_expire is not None and expires is None:
        message = "`on_expire` is what a wait returns when it expires: give `expires` as well."
        raise KitaruUsageError(message)
    _check_on_expire(schema, ask)
    # What was asked, not how long anyone has for it, tells one question from another.
    asked = {"question": ask.question, "schema": ask.schema, "metadata": ask.metadata}
    return _call(scope, CallKind.WAIT, name or "wait", asked), ask


def _check_on_expire(schema: object, ask: Ask) -> None:
    """Refuse what the flow would get in place of an answer if no answer could be it."""
    if ask.on_expire is None or ask.schema is None:
        return
    try:
        answer = schemas.to_json(ask.on_expire)
    except KitaruUsageError as error:
        message = f"`on_expire` stands for an answer, which it cannot be: {error.message}"
        raise KitaruUsageError(message) from error
    # What an instance looks like as JSON may differ from what its class takes.
    bases: list[object] = [*type(ask.on_expire).__mro__]
    if schema in bases and schema not in _PLAIN:
        return
    problems = schemas.find_problems(ask.schema, answer)
    if problems:
        message = (
            f"`on_expire` stands for an answer, which it cannot be: {schemas.listed(problems)}. Give what"
            f" `schema` asks for: {schemas.describe(ask.schema)}."
        )
        raise KitaruUsageError(message)


# Their instances are not always what they ask for: `True` is an `int`, and no whole number in JSON.
_PLAIN: tuple[object, ...] = (int, float, str, list, tuple, dict, object)


def _timer(
    scope: Scope, seconds: float | timedelta | None, until: datetime | None, name: str | None
) -> tuple[Call, float]:
    if (seconds is None) == (until is None):
        message = "expected one of `seconds` and `until`: how long to sleep, or until which moment."
        raise KitaruUsageError(message)
    if until is not None:
        moment = _aware("until", until)
        length = max(0.0, (moment - scope.run.clock.now()) / 1_000_000)
        return _call(scope, CallKind.TIMER, name or "sleep", {"until": moment}), length
    length = _seconds("seconds", seconds)
    return _call(scope, CallKind.TIMER, name or "sleep", {"seconds": length}), length


def _call(scope: Scope, kind: CallKind, name: str, arguments: Mapping[str, UserValue]) -> Call:
    """Count a wait or a sleep where it is made, and find what the journal has for it."""
    check_name(name, _call)
    scope.run.check()
    label = f"{kind_prefix(kind)}{name}"
    call = Call(
        spec=CheckpointSpec(
            name=name,
            function=_never,
            is_async=False,
            retry=NO_RETRY,
            timeout=None,
            type=kind.value,
            cache=False,
            ignore=frozenset(),
            code_hash="",
        ),
        scope=scope,
        arguments=arguments,
        args=(),
        kwargs={},
        kind=kind,
        label=label,
        ordinal=scope.next_ordinal(label),
        ordered=scope.ordered,
        placed=scope.placed,
        upstreams=scope.upstreams(),
    )
    settle(call)
    return call


def _drive(call: Call, steps: Steps) -> UserValue:
    try:
        return drive(call.scope.run, steps, _never)
    finally:
        call.scope.returned(call.position, call.upstreams)


async def _adrive(call: Call, steps: Steps) -> UserValue:
    try:
        return await adrive(call.scope.run, steps, _never)
    finally:
        call.scope.returned(call.position, call.upstreams)


def _never(*_: object) -> Never:
    message = "waits have no body"
    raise AssertionError(message)


def _metadata(metadata: object) -> str:
    if metadata is None:
        return "{}"
    if not isinstance(metadata, Mapping):
        message = f"expected `metadata` to be a dict of JSON values, got: {metadata!r}"
        raise KitaruUsageError(message)
    return schemas.to_json(metadata)  # pyright: ignore[reportUnknownArgumentType] - of any values


def _seconds(option: str, value: object) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        message = f"expected `{option}` to be a number of seconds, 0 or more, got: {value!r}"
        raise KitaruUsageError(message)
    if seconds > _LONGEST_SECONDS:
        message = f"expected `{option}` to be at most a thousand years, got: {value!r}"
        raise KitaruUsageError(message)
    return float(seconds)


# Beyond, moments no longer fit a `datetime`.
_LONGEST_SECONDS = 1000 * 366 * 86400


def _moment(scope: Scope, expires: float | timedelta | datetime) -> int:
    if isinstance(expires, datetime):
        return _aware("expires", expires)
    return scope.run.clock.now() + round(_seconds("expires", expires) * 1_000_000)


def _aware(option: str, moment: object) -> int:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        message = (
            f"expected `{option}` to be a datetime with a time zone, such as"
            f" `datetime.now(UTC) + timedelta(days=1)`, got: {moment!r}"
        )
        raise KitaruUsageError(message)
    return from_datetime(moment)
