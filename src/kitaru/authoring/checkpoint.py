"""`@checkpoint`: a unit of work whose result is kept."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import timedelta
from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypeGuard,
    TypeVar,
    overload,
)

from kitaru.authoring.functions import (
    Binder,
    check_cache,
    check_choice,
    check_function,
    check_name,
    check_seconds,
    check_text,
    copy_identity,
    hash_of_function,
    is_whole_number,
)
from kitaru.engine.calls import Call, CheckpointSpec
from kitaru.engine.context import current_call, current_scope, flow_scope
from kitaru.engine.dispatch import Futures, Limiter, acall_here, call_here, open_call, submit
from kitaru.engine.futures import CheckpointFuture, CheckpointFutures
from kitaru.errors import KitaruContextError, KitaruFeatureNotAvailableError, KitaruUsageError
from kitaru.retry import RetryPolicy

if TYPE_CHECKING:
    from kitaru.engine.scope import Scope

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

Runtime = Literal["inline", "isolated"]
After = CheckpointFuture[Any] | Sequence[CheckpointFuture[Any]] | None

_RESERVED = ("id", "after", "max_concurrency")


class Checkpoint(Generic[P, R_co]):
    """A function whose results are recorded when it is called in a flow.

    Calling it runs the body and returns the plain value, after recording it; when the execution is
    recovered, the recorded value comes back and the body does not run. An async function's checkpoint is
    awaited like the function itself.
    """

    def __init__(self, function: Callable[P, R_co], spec: CheckpointSpec) -> None:
        self._function = function
        self._spec = spec
        self._binder = Binder.of(function, spec.name)
        copy_identity(self, function)
        self.__qualname__: str = getattr(function, "__qualname__", spec.name)

    @property
    def name(self) -> str:
        """The name under which calls are recorded."""
        return self._spec.name

    # A ParamSpec cannot be widened by keywords of our own, hence two looser overloads for calls with
    # `id=` or `after=`.
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: Any, id: str, after: After = None, **kwargs: Any) -> R_co: ...
    @overload
    def __call__(self, *args: Any, after: After, **kwargs: Any) -> R_co: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body, record what it returns, and return it; or return what is recorded.

        Two more keywords are understood: `id=` names the call, and `after=` takes a future, or several,
        that it must wait for.

        Raises:
            KitaruContextError: Not in a flow, or inside another checkpoint.
            KitaruSerializationError: An argument or the result cannot be kept; the part is named.
            KitaruDivergenceError: The record contradicts this call, and the flow's code has changed.
        """
        label, after = kwargs.pop("id", None), kwargs.pop("after", None)
        scope = current_scope.get()
        if self._spec.is_async:
            if scope is not None and current_call.get() is None and not _is_in_a_loop():
                message = (
                    f"async checkpoint {self._spec.name!r} was called in a sync flow: use"
                    f" `{self._spec.name}.submit(...).result()`, or make the flow `async def`."
                )
                raise KitaruContextError(message)
            return self._acall(args, kwargs, label, after)
        if scope is None or current_call.get() is not None:
            flow_scope(f"checkpoint {self._spec.name!r}")
            raise AssertionError
        call, waits_for = self._open(scope, args, kwargs, label, after)
        return call_here(call, waits_for)

    def _open(
        self,
        scope: Scope,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        label: object,
        after: object,
    ) -> tuple[Call, Futures]:
        return open_call(
            scope,
            self._spec,
            arguments=self._binder.bind(args, kwargs),
            args=args,
            kwargs=kwargs,
            label=_label(label) if label is not None else None,
            after=after,
        )

    async def _acall(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], label: object, after: object
    ) -> Any:
        scope = flow_scope(f"checkpoint {self._spec.name!r}")
        call, waits_for = self._open(scope, args, kwargs, label, after)
        return await acall_here(call, waits_for)

    @overload
    def submit(
        self: Checkpoint[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> CheckpointFuture[T]: ...
    @overload
    def submit(self, *args: P.args, **kwargs: P.kwargs) -> CheckpointFuture[R_co]: ...
    @overload
    def submit(
        self: Checkpoint[..., Coroutine[Any, Any, T]],
        *args: Any,
        id: str = ...,
        after: After = None,
        **kwargs: Any,
    ) -> CheckpointFuture[T]: ...
    @overload
    def submit(
        self, *args: Any, id: str = ..., after: After = None, **kwargs: Any
    ) -> CheckpointFuture[R_co]: ...
    def submit(self, *args: Any, **kwargs: Any) -> CheckpointFuture[Any]:
        """Run the body beside the flow, in a thread or as a task, and return a future of its result.

        The call's place in the flow is settled now, whenever it runs. Takes `id=` and `after=` as a
        call does. Arguments may be futures of other calls: the body gets their values.

        Raises:
            KitaruContextError: Not in a flow, or inside another checkpoint.
        """
        label, after = kwargs.pop("id", None), kwargs.pop("after", None)
        return self._submit(args, kwargs, label=label, after=after)

    @overload
    def map(
        self: Checkpoint[..., Coroutine[Any, Any, T]],
        *iterables: object,
        after: After = None,
        max_concurrency: int | None = None,
        **kwargs: object,
    ) -> CheckpointFutures[T]: ...
    @overload
    def map(
        self,
        *iterables: object,
        after: After = None,
        max_concurrency: int | None = None,
        **kwargs: object,
    ) -> CheckpointFutures[R_co]: ...
    def map(
        self,
        *iterables: object,
        after: After = None,
        max_concurrency: int | None = None,
        **kwargs: object,
    ) -> CheckpointFutures[Any]:
        """Submit one call for each element, iterables taken side by side; scalars go to every call.

        Args:
            iterables: Positional arguments, each an iterable of equal length or a single value. Strings,
                bytes and mappings are single values.
            after: Futures that all the calls must wait for.
            max_concurrency: At most so many of these calls run at once.
            kwargs: Keyword arguments, treated alike.

        Raises:
            KitaruUsageError: Nothing to iterate over, or unequal lengths.
        """
        values = [*iterables, *kwargs.values()]
        columns = [list(value) if _is_many(value) else None for value in values]
        lengths = {len(column) for column in columns if column is not None}
        if not lengths:
            message = (
                f"`{self.name}.map()` needs at least one iterable; use `.submit()` for one call."
            )
            raise KitaruUsageError(message)
        if len(lengths) > 1:
            message = (
                f"`{self.name}.map()` takes iterables of equal length, got lengths {sorted(lengths)}."
                f" Use `.product()` for all combinations."
            )
            raise KitaruUsageError(message)
        rows = (
            tuple(
                value if column is None else column[index]
                for value, column in zip(values, columns, strict=True)
            )
            for index in range(lengths.pop())
        )
        return self._submit_all(rows, tuple(kwargs), after, max_concurrency)

    @overload
    def product(
        self: Checkpoint[..., Coroutine[Any, Any, T]],
        *iterables: object,
        after: After = None,
        max_concurrency: int | None = None,
        **kwargs: object,
    ) -> CheckpointFutures[T]: ...
    @overload
    def product(
        self,
        *iterables: object,
        after: After = None,
        max_concurrency: int | None = None,
        **kwargs: object,
    ) -> CheckpointFutures[R_co]: ...
    def product(
        self,
        *iterables: object,
        after: After = None,
        max_concurrency: int | None = None,
        **kwargs: object,
    ) -> CheckpointFutures[Any]:
        """Submit one call for each combination of elements, the last iterable varying fastest.

        Takes the same arguments as `map`, but the lengths may differ.
        """
        values = [*iterables, *kwargs.values()]
        columns = [list(value) if _is_many(value) else [value] for value in values]
        if not any(_is_many(value) for value in values):
            message = f"`{self.name}.product()` needs at least one iterable; use `.submit()` for one call."
            raise KitaruUsageError(message)
        return self._submit_all(itertools.product(*columns), tuple(kwargs), after, max_concurrency)

    def _submit_all(
        self,
        rows: Iterable[tuple[Any, ...]],
        names: tuple[str, ...],
        after: After,
        max_concurrency: int | None,
    ) -> CheckpointFutures[Any]:
        if max_concurrency is not None and not is_whole_number(max_concurrency, at_least=1):
            message = (
                f"expected `max_concurrency` to be a positive integer, got: {max_concurrency!r}"
            )
            raise KitaruUsageError(message)
        limiter = None if max_concurrency is None else Limiter(max_concurrency)
        futures: list[CheckpointFuture[Any]] = []
        for row in rows:
            split = len(row) - len(names)
            kwargs = dict(zip(names, row[split:], strict=True))
            futures.append(self._submit(row[:split], kwargs, after=after, limiter=limiter))
        return CheckpointFutures(futures)

    def _submit(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        label: object = None,
        after: object = None,
        limiter: Limiter | None = None,
    ) -> CheckpointFuture[Any]:
        scope = flow_scope(f"checkpoint {self._spec.name!r}")
        call, waits_for = self._open(scope, args, kwargs, label, after)
        return submit(call, waits_for, limiter)

    @overload
    def __get__(self, instance: None, owner: type) -> Checkpoint[P, R_co]: ...
    @overload
    def __get__(
        self: Checkpoint[Concatenate[S, ...], T], instance: S, owner: type | None = None
    ) -> Callable[..., T]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the checkpoint as a method; `self` counts as an argument (see `ignore=`)."""
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<checkpoint {self.name!r}>"

    def __reduce__(self) -> str:
        # Pickled by name, as the function itself would be.
        return self.__qualname__


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _label(label: object) -> str:
    text = check_text("`id`", label)
    if any(sign in text for sign in "/#\0\n"):
        message = f"expected `id` to be a non-empty string without '/' and '#', got: {label!r}"
        raise KitaruUsageError(message)
    return text


def _is_many(value: object) -> TypeGuard[Iterable[object]]:
    if isinstance(value, str | bytes | bytearray | Mapping | CheckpointFuture):
        return False
    # A pydantic model iterates too, but has neither a length nor a next element.
    return isinstance(value, Iterable) and isinstance(value, Sized | Iterator)


@overload
def checkpoint(func: Callable[P, R], /) -> Checkpoint[P, R]: ...
@overload
def checkpoint(
    func: None = None,
    *,
    name: str | None = None,
    retries: int | RetryPolicy = 0,
    timeout: float | timedelta | None = None,
    type: str | None = None,
    runtime: Runtime | None = None,
    cache: bool | timedelta | None = None,
    ignore: Sequence[str] = (),
    resources: Mapping[str, int | float | str] | None = None,
) -> Callable[[Callable[P, R]], Checkpoint[P, R]]: ...
def checkpoint(
    func: Callable[P, R] | None = None,
    *,
    name: str | None = None,
    retries: int | RetryPolicy = 0,
    timeout: float | timedelta | None = None,
    type: str | None = None,  # noqa: A002 - the public name
    runtime: Runtime | None = None,
    cache: bool | timedelta | None = None,
    ignore: Sequence[str] = (),
    resources: Mapping[str, int | float | str] | None = None,
) -> Checkpoint[P, R] | Callable[[Callable[P, R]], Checkpoint[P, R]]:
    """Make a function's results durable when it is called in a flow.

    Args:
        func: The function, sync or async, when used without parentheses.
        name: Under which calls are recorded; default the function's.
        retries: Further attempts after a failure, at once; or a `RetryPolicy`.
        timeout: Seconds that one attempt may take. An async body is cancelled then; a sync one is told
            at its next Kitaru call or when it returns.
        type: Free label for people and dashboards, such as `llm_call` or `tool_call`.
        runtime: `inline` runs the body in the flow's process, which is the default.
        cache: True reuses a completed result of another execution with the same checkpoint, source and
            arguments; a `timedelta` only one that is no older. None leaves it to the flow.
        ignore: Parameters that do not count when calls are compared, such as a client or a timestamp.
        resources: What an isolated body needs, such as `{"cpu": 1, "memory": "2Gi"}`.

    Raises:
        KitaruUsageError: An option or the function is not acceptable.
        KitaruFeatureNotAvailableError: `runtime="isolated"`, for which no installed stack exists.
    """

    def decorate(function: Callable[P, R]) -> Checkpoint[P, R]:
        check_function(function, "@checkpoint", _RESERVED)
        if runtime is not None:
            check_choice("runtime", runtime, ("inline", "isolated"))
        if runtime == "isolated" or resources is not None:
            message = (
                f"checkpoint {function.__name__!r} asks for an isolated runtime or for resources, which"
                f" the local stack does not offer. Leave both out to run it in the flow's process."
            )
            raise KitaruFeatureNotAvailableError(message)
        if type is not None and not isinstance(type, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
            message = f"expected `type` to be a string, got: {type!r}"
            raise KitaruUsageError(message)
        spec = CheckpointSpec(
            name=check_name(name, function),
            function=function,
            is_async=inspect.iscoroutinefunction(function),
            retry=RetryPolicy.of(retries),
            timeout=check_seconds("timeout", timeout),
            type=type,
            cache=check_cache(cache),
            ignore=_ignored(ignore, function),
            code_hash=hash_of_function(function),
        )
        return Checkpoint(function, spec)

    return decorate if func is None else decorate(func)


def _ignored(ignore: Sequence[str], function: Callable[..., Any]) -> frozenset[str]:
    names = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    parameters = inspect.signature(function).parameters
    for name in names:
        if name not in parameters:
            message = (
                f"`ignore` names {name!r}, which is no parameter of {function.__qualname__!r}."
            )
            raise KitaruUsageError(message)
    return frozenset(names)
