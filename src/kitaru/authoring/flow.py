"""`@flow`: a function whose runs are durable."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from kitaru.authoring.functions import (
    Binder,
    check_cache,
    check_choice,
    check_function,
    check_name,
    check_seconds,
    copy_identity,
    hash_of_module,
    is_whole_number,
)
from kitaru.authoring.handle import FlowHandle
from kitaru.authoring.replaying import start_replay
from kitaru.authoring.submission import RunOptions, submit_flow
from kitaru.code_ref import CodeRef, import_root_of
from kitaru.engine.journal import OnDivergence
from kitaru.engine.runner import FlowCode
from kitaru.errors import KitaruUsageError

P = ParamSpec("P")
R = TypeVar("R")

DivergencePolicy = Literal["auto", "reuse", "rerun", "fail"]

# Names that `.run()` and the other methods of a flow take for themselves.
_RESERVED = (
    "stack", "image", "cache", "retries", "timeout", "idempotency_key", "tags",
    "from_", "at", "overrides", "code",
    "version", "tag", "publish_default_on_first_deploy",
)  # fmt: skip


class Flow(Generic[P, R]):
    """A function whose runs survive the process. `.run()` starts one."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str,
        options: RunOptions,
        on_divergence: OnDivergence,
        max_recoveries: int,
    ) -> None:
        self._function = function
        self._options = options
        self._max_recoveries = max_recoveries
        self._code: FlowCode | None = None
        self._on_divergence = on_divergence
        self.name = name
        self.binder = Binder.of(function, name)
        self.code_ref = CodeRef.of(function)
        self._code_root: str | None = None
        copy_identity(self, function)
        self.__qualname__: str = getattr(function, "__qualname__", name)

    @property
    def code(self) -> FlowCode:
        """The function and the hash of its source, as a runner needs them."""
        if self._code is None:
            self._code = FlowCode(
                function=self._function,
                signature=self.binder.signature,
                is_async=inspect.iscoroutinefunction(self._function),
                code_hash=hash_of_module(self._function),
                on_divergence=self._on_divergence,
            )
        return self._code

    @property
    def code_root(self) -> str:
        """The folder that makes the flow's module importable elsewhere, empty if Python finds it."""
        if self._code_root is None:
            self._code_root = import_root_of(self.code_ref.module)
        return self._code_root

    @property
    def options(self) -> RunOptions:
        """What the decorator says of options that `.run()` leaves open."""
        return self._options

    @property
    def max_recoveries(self) -> int:
        """After how many lost runners an execution is failed."""
        return self._max_recoveries

    def __call__(self, *_args: P.args, **_kwargs: P.kwargs) -> R:
        """Refuse: a flow is started with `.run()`.

        Raises:
            KitaruUsageError: Always.
        """
        message = (
            f"flow {self.name!r} is not called directly. Use:\n"
            f"  handle = {self.name}.run(...)          # runs in the background\n"
            f"  result = {self.name}.run(...).wait()   # runs and returns the result"
        )
        raise KitaruUsageError(message)

    @overload
    def run(self, *args: P.args, **kwargs: P.kwargs) -> FlowHandle[R]: ...
    @overload
    def run(
        self,
        *args: Any,
        stack: str | None = None,
        image: object = None,
        cache: bool | timedelta | None = None,
        retries: int | None = None,
        timeout: float | timedelta | None = None,
        idempotency_key: str | None = None,
        tags: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> FlowHandle[R]: ...
    def run(self, *args: Any, **kwargs: Any) -> FlowHandle[Any]:
        """Start an execution in the background and return a handle to it.

        When this returns, the execution is durable: it will be finished, by this process or by another
        one that recovers it. Inside another flow it is a child execution: recovery of the parent
        returns the same child.

        Takes the flow's own arguments and, as keywords:

        * `stack`: where to run; `local` is this process.
        * `image`: for stacks that run containers.
        * `cache`: whether checkpoints that do not say reuse results of other executions.
        * `retries`: how often a failed flow is tried again, over its recorded calls.
        * `timeout`: seconds of running after which the flow fails; a retry or a recovery starts anew.
        * `idempotency_key`: if an execution of this flow has it already, that one is returned.
        * `tags`: words to find the execution by.

        Durability: one commit. If it raises, nothing was started.

        Raises:
            KitaruUsageError: Arguments or options are not acceptable.
            KitaruSerializationError: An argument cannot be kept; it is named.
            KitaruContextError: Used inside a flow on another thread than the flow's.
            KitaruBackendError: The store is out of reach.
        """
        options = self._options.overridden_by(kwargs)
        arguments = self.binder.bind(args, kwargs)
        return submit_flow(self, arguments, options)

    def replay(
        self,
        exec_id: str,
        *,
        from_: str | None = None,
        at: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        code: Literal["current", "recorded"] = "current",
        stack: str | None = None,
        image: object = None,
        cache: bool | timedelta | None = None,
        retries: int | None = None,
        **flow_inputs: Any,
    ) -> FlowHandle[R]:
        """Start a new execution from an old one's record, with something changed; the old one stays.

        Calls that are neither selected nor follow from what was selected, overridden or changed return
        what they returned in the old execution, and their bodies do not run.

        Args:
            exec_id: The execution to replay: a finished or waiting one of this flow. How the id begins
                is enough if no other begins so.
            from_: The call to begin with: a call id, a position, or the name of a checkpoint or wait
                that was called once. It and what follows from it runs again. Without it, a failed
                execution goes on from where it failed, and of others only what overrides or changed
                inputs ask for runs again.
            at: The same as `from_`.
            overrides: Values to put in the place of recorded ones: `checkpoint.<selector>` or
                `wait.<name>`. What follows from them runs again, they themselves do not.
            code: `current` runs the flow's code as it is now; `recorded` needs a deployment.
            stack: Where to run.
            image: For stacks that run containers.
            cache: Whether checkpoints that do not say reuse results of other executions.
            retries: How often a failed flow is tried again.
            flow_inputs: Flow arguments to change; all others are as they were.

        Durability: one commit. If it raises, nothing was started.

        Raises:
            KitaruNotFoundError: There is no such execution.
            KitaruStateError: It is running, or of another flow; a selector means no call or several.
            KitaruUsageError: An override or an input is not acceptable.
            KitaruWaitValidationError: An overriding answer does not fit the wait's schema.
            KitaruFeatureNotAvailableError: `code="recorded"`, and there is no deployment.
        """
        given = {"stack": stack, "image": image, "cache": cache, "retries": retries}
        return start_replay(
            self,
            exec_id,
            from_=from_,
            at=at,
            overrides=overrides,
            code=code,
            options=self._options.overridden_by(given),
            flow_inputs=flow_inputs,
        )

    def __repr__(self) -> str:
        return f"<flow {self.name!r}>"

    def __reduce__(self) -> str:
        # Pickled by name, as the function itself would be.
        return self.__qualname__


class _Decorator(Protocol):
    """What `@flow(...)` with options gives: a decorator of sync and of async functions."""

    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, R]], /) -> Flow[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, R], /) -> Flow[P, R]: ...


@overload
def flow(func: Callable[P, Coroutine[Any, Any, R]], /) -> Flow[P, R]: ...
@overload
def flow(func: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    func: None = None,
    *,
    name: str | None = None,
    stack: str | None = None,
    image: object = None,
    cache: bool | timedelta | None = None,
    retries: int | None = None,
    timeout: float | timedelta | None = None,
    on_divergence: DivergencePolicy = "auto",
    max_recoveries: int = 10,
    tags: Sequence[str] | None = None,
) -> _Decorator: ...
def flow(
    func: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    stack: str | None = None,
    image: object = None,
    cache: bool | timedelta | None = None,
    retries: int | None = None,
    timeout: float | timedelta | None = None,
    on_divergence: DivergencePolicy = "auto",
    max_recoveries: int = 10,
    tags: Sequence[str] | None = None,
) -> Any:
    """Make a function's runs durable.

    Args:
        func: The function, sync or async, when used without parentheses. Its arguments and result are
            kept, as those of checkpoints are.
        name: Under which executions are listed; default the function's.
        stack: Where it runs; `local` is the process that starts it.
        image: For stacks that run containers.
        cache: Whether checkpoints that do not say reuse results of other executions.
        retries: How often a failed run is tried again, over its recorded calls.
        timeout: Seconds of running after which a run fails; a retry or a recovery starts anew.
        on_divergence: What to do when a recorded call contradicts the flow: `auto` asks for a decision
            if the code has changed, `reuse` takes the record, `rerun` runs the body, `fail` stops.
        max_recoveries: After how many lost runners an execution is failed rather than recovered.
        tags: Words to find executions by.

    Raises:
        KitaruUsageError: An option or the function is not acceptable, or a parameter of the function
            has the name of an option of `.run()` or another method of flows.
    """

    def decorate(function: Callable[..., Any]) -> Flow[..., Any]:
        check_function(function, "@flow", _RESERVED)
        check_choice("on_divergence", on_divergence, [choice.value for choice in OnDivergence])
        if not is_whole_number(max_recoveries, at_least=0):
            message = f"expected `max_recoveries` to be 0 or more, got: {max_recoveries!r}"
            raise KitaruUsageError(message)
        options = RunOptions().overridden_by(
            {
                "stack": stack,
                "image": image,
                "cache": check_cache(cache),
                "retries": retries,
                "timeout": check_seconds("timeout", timeout),
                "tags": tags,
            }
        )
        return Flow(
            function,
            name=check_name(name, function),
            options=options,
            on_divergence=OnDivergence(on_divergence),
            max_recoveries=max_recoveries,
        )

    return decorate if func is None else decorate(func)
