"""`run_flow`: a flow's run from its start to its end, in a test."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from kitaru.clock import present_clock, use_clock
from kitaru.engine.context import current_scope
from kitaru.errors import KitaruContextError, KitaruUsageError
from kitaru.testing.answers import Answers
from kitaru.testing.clock import FakeClock
from kitaru.testing.disturbing import present_disturbance
from kitaru.testing.store import memory_store, present_store

if TYPE_CHECKING:
    from datetime import timedelta

    from kitaru.authoring.flow import Flow
    from kitaru.authoring.handle import FlowHandle
    from kitaru.client.models import Execution, PendingWait
    from kitaru.clock import Clock
    from kitaru.engine.journal import OnDivergence
    from kitaru.testing.driving import Driver

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

UserValue = Any

TIMEOUT_SECONDS = 60.0

# One at a time: each moves the clock, and answers what its flow asks.
_turn = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRun(Generic[R_co]):
    """A run that has completed.

    Attributes:
        result: What the flow returned.
        execution: The execution with its calls, artifacts and metadata, as it ended.
    """

    result: R_co
    execution: Execution

    @property
    def exec_id(self) -> str:
        """The execution's id."""
        return self.execution.exec_id

    @property
    def checkpoints(self) -> list[str]:
        """The names of the checkpoints that were called, in the order in which they began."""
        return [
            call.name
            for call in self.execution.checkpoints
            if call.checkpoint_type not in _NO_CHECKPOINTS
        ]

    @property
    def waits(self) -> tuple[PendingWait, ...]:
        """The questions that were asked, with their answers, in that order."""
        return self.execution.waits


_NO_CHECKPOINTS = {"flow", "wait", "timer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What `run_flow` was asked to run, and how.

    Attributes:
        waits: Answers by the waits' ids or names.
        clock: The time; None for a `FakeClock`.
        timeout: Real seconds that the run may take.
    """

    flow: Flow[..., Any]
    args: tuple[UserValue, ...]
    kwargs: Mapping[str, UserValue]
    waits: Mapping[str, UserValue] | None
    clock: Clock | None
    timeout: float

    def start(self) -> FlowHandle[UserValue]:
        """Start an execution."""
        return self.flow.run(*self.args, **self.kwargs)


@overload
def run_flow(flow: Flow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> FlowRun[R]: ...
@overload
def run_flow(
    flow: Flow[..., R],
    /,
    *args: Any,
    waits: Mapping[str, UserValue] | None = None,
    clock: Clock | None = None,
    timeout: float | timedelta = TIMEOUT_SECONDS,
    **kwargs: Any,
) -> FlowRun[R]: ...
def run_flow(
    flow: Any,  # a `Flow`, which is invariant in its parameters
    /,
    *args: Any,
    waits: Mapping[str, UserValue] | None = None,
    clock: Clock | None = None,
    timeout: float | timedelta = TIMEOUT_SECONDS,
    **kwargs: Any,
) -> FlowRun[Any]:
    """Run a flow to its end, with its children, and return what became of it.

    Time is a `FakeClock`'s unless told otherwise: sleeps, deadlines and the delays of retries pass at
    once. Questions are answered from `waits`. The store is that of the `memory_store` block around it,
    or one for this call alone. Works in sync tests and, blocking the loop meanwhile, in async ones.

    Takes the flow's arguments and the options of `.run()`, and as keywords:

    * `waits`: answers, by the waits' names or ids: a value, a list with one for each asking, a function
      of the question, `ABORT`, or `EXPIRE`. They are checked against the waits' schemas.
    * `clock`: another clock; with one that is no `FakeClock`, time passes as it does.
    * `timeout`: real seconds that it may take. This is not the flow's own `timeout`.

    Raises:
        KitaruUserCodeError: The flow failed; `__cause__` is what it raised.
        KitaruExecutionError: It was cancelled, or failed for another reason.
        KitaruUsageError: Nobody answers a question; it is named.
        KitaruWaitValidationError: An answer does not fit its question.
        KitaruTimeoutError: It was not over in time.
        AssertionError: pytest was asked to disturb runs, and this one does not stand it.
    """
    from kitaru.authoring.flow import Flow

    __tracebackhide__ = True  # pytest shows the test's own line
    if not isinstance(flow, Flow):
        message = f"expected a flow, a function with `@flow`, got: {flow!r}"
        raise KitaruUsageError(message)
    if current_scope.get() is not None:
        message = f"`run_flow` is for tests; inside a flow, `{flow.name}.run(...)` starts a child."
        raise KitaruContextError(message)
    running = Running(
        flow=flow,  # pyright: ignore[reportUnknownArgumentType] - of any parameters
        args=args,
        kwargs=kwargs,
        waits=waits,
        clock=clock,
        timeout=_seconds(timeout),
    )
    with _turn, contextlib.ExitStack() as stack:
        if present_store() is None:
            stack.enter_context(memory_store())
        if (disturbance := present_disturbance()) is not None:
            disturbance.disturb(running)
        return _beside_the_loop(lambda: _complete(running))


def _seconds(timeout: object) -> float:
    from kitaru.authoring.functions import check_seconds

    seconds = check_seconds("timeout", timeout)
    return TIMEOUT_SECONDS if seconds is None else float(seconds)


def _complete(running: Running) -> FlowRun[Any]:
    with in_hand(running) as driver:
        handle = running.start()
        driver.see_through(handle.exec_id)
        result = handle.wait()
        return FlowRun(result=result, execution=handle.execution)


@contextlib.contextmanager
def in_hand(running: Running, *, on_divergence: OnDivergence | None = None) -> Generator[Driver]:
    """Yield what drives a run in this process: its clock is in use, its questions are answered."""
    from kitaru import settings
    from kitaru.client import KitaruClient
    from kitaru.testing.driving import Driver
    from kitaru.worker import local_runner

    answers = Answers(running.waits)
    with use_clock(clock_of(running)):
        runner = local_runner(settings.current())
        driver = Driver(
            runner,
            KitaruClient(),
            running.flow,
            answers,
            on_divergence=on_divergence,
            timeout=running.timeout,
        )
        runner.answer_with(driver.answer)
        try:
            yield driver
        finally:
            runner.answer_with(None)


def clock_of(running: Running) -> Clock:
    """Return the clock of a run: the given one, or that of the store unless another fake is in use."""
    present, store = present_clock(), present_store()
    if running.clock is not None:
        return running.clock
    return store.clock if store is not None and not isinstance(present, FakeClock) else present


def _beside_the_loop(work: Callable[[], T]) -> T:
    """Return what `work` returns, from a thread of its own where an event loop runs in this one.

    An async flow would be put on that loop, which waits here.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    found: list[T] = []
    failed: list[BaseException] = []
    context = contextvars.copy_context()

    def job() -> None:
        try:
            found.append(context.run(work))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            failed.append(error)

    thread = threading.Thread(target=job, name="kitaru-run-flow")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
