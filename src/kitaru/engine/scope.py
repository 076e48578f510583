"""Positions: where in the flow's program a call stands, and what it follows from.

A sync flow is one scope, the root. In an async flow every `asyncio.Task` is a scope of its own, numbered
by creation within the scope that created it. A scope counts its calls by name, so that `fetch#2` means
"the second call of `fetch` here" in every run of the same program, whatever finishes first.

Two more things are kept per scope:

* the **frontier**: the calls that the next call here follows from;
* whether the scope is still **ordered**: whether program order alone, and no race between tasks or
  futures, has decided that this scope stands where it does. Once lost it does not come back. A task's
  scope never is: tasks may be created from a set (`as_completed` does), and they may share a queue or an
  iterator, of which another one takes the next item next time.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from kitaru.engine.context import current_call, current_scope

if TYPE_CHECKING:
    from contextvars import Context

    from kitaru.engine.futures import CheckpointFuture
    from kitaru.engine.run import Run


class Scope:
    """A thread of program order within a run.

    Attributes:
        placed: Whether a task has not paused yet, so that only the order in which tasks were created says
            which calls stand here.
        unheard: On the root, positions of the children whose end the flow has not heard of.
        live: How many tasks created here are not over.
        over: Whether the task itself is.
    """

    __slots__ = (
        "_children",
        "_frontier",
        "_ordinals",
        "_origin",
        "_untaken",
        "live",
        "ordered",
        "over",
        "path",
        "placed",
        "run",
        "unheard",
    )

    def __init__(
        self, run: Run, *, path: str = "", ordered: bool = True, frontier: tuple[str, ...] = ()
    ) -> None:
        self.run = run
        self.path = path
        self.ordered = ordered
        self.placed = False
        self._origin = frontier
        self._frontier: dict[str, None] = dict.fromkeys(frontier)
        self._ordinals: dict[str, itertools.count[int]] = {}
        self._children = 0
        # The futures themselves: the id of one that is gone may be another's.
        self._untaken: dict[CheckpointFuture[object], None] = {}
        self.unheard: dict[str, None] = {}
        self.live = 0
        self.over = False

    def next_ordinal(self, name: str) -> int:
        """Count one more call of `name` here, from 1."""
        flow_thread = self.run.flow_thread
        if flow_thread is not None and threading.get_ident() != flow_thread:
            # Threads that user code started with the flow's context race for their ordinals.
            self.ordered = False
        # One step each for the interpreter, so that such threads never get the same ordinal.
        return next(self._ordinals.setdefault(name, itertools.count(1)))

    def position(self, name: str, ordinal: int) -> str:
        """Return the position of a call as it is stored."""
        return f"{self.path}/{name}#{ordinal}" if self.path else f"{name}#{ordinal}"

    def upstreams(self, others: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the positions that a call made now follows from, `others` among them."""
        return tuple(dict.fromkeys((*self._frontier, *others)))

    def returned(self, position: str, upstreams: Iterable[str]) -> None:
        """Note that a direct call has come back, with a value or an exception.

        It stands for what it followed from. A task that has ended meanwhile stays beside it.
        """
        self._add((position,), superseded=upstreams)

    def join(self, child: Scope) -> None:
        """Note that what follows here also follows from the calls at the end of a task.

        Only what the task added: where it began, this scope has been too, and what the task's calls
        followed from they lead to.
        """
        ends, origin = child.upstreams(), child._origin
        if ends != origin:
            added = [position for position in ends if position not in origin]
            self._add(added, superseded=set(origin).difference(ends))

    def _add(self, positions: Iterable[str], *, superseded: Iterable[str]) -> None:
        # Without leaving out, a loop that only submits would list its whole past with every call.
        for position in superseded:
            self._frontier.pop(position, None)
        self._frontier.update(dict.fromkeys(positions))

    def submitted(self, future: CheckpointFuture[object]) -> None:
        """Note that a future was handed out, whose result may be taken in any order."""
        self._untaken[future] = None

    def taken(self, future: CheckpointFuture[object], position: str) -> None:
        """Note that a future's result was taken here.

        Taking it while an earlier one has not been taken means that something other than program
        order (which of them was done, say) may have chosen this one.
        """
        if future in self._untaken:
            if next(iter(self._untaken)) is not future:
                self.ordered = False
            del self._untaken[future]
            self._add((position,), superseded=future.call.upstreams)
        elif future.call.scope is not self:
            # Handed out by another task, or by the flow to a task: no order here, but an edge.
            self._add((position,), superseded=())

    def peeked(self) -> None:
        """Note that the flow asked whether a future is done: what follows may depend on the answer."""
        self.ordered = False

    def child(self) -> Scope:
        """Return the scope of a task created now.

        The creator stops being ordered as soon as it runs on after the event loop had its turn, for
        from then on tasks may have finished in any order. The mark is set by the loop itself, which
        cannot run before the creator yields.
        """
        number = self._children
        self._children += 1
        child = Scope(
            self.run,
            path=f"{self.path}.{number}" if self.path else str(number),
            ordered=False,
            frontier=self.upstreams(),
        )
        self.unorder_after_yield()
        return child

    def unorder_after_yield(self) -> None:
        """Stop being ordered once the event loop has had its turn."""
        if self.ordered:
            asyncio.get_running_loop().call_soon(self._lose_order)

    def leave_place(self) -> None:
        """Note that the task has paused for the first time."""
        self.placed = False

    def _lose_order(self) -> None:
        self.ordered = False


class ScopedTaskFactory:
    """A task factory that gives every task created in a flow a scope of its own.

    Tasks created elsewhere on the loop, and tasks created inside a checkpoint's body, are made by the
    loop's former factory, untouched.
    """

    def __init__(self, former: object) -> None:
        self.former = former
        self.users = 1

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: object,
        *,
        context: Context | None = None,
        **options: object,
    ) -> asyncio.Future[object]:
        scope = current_scope.get()
        if scope is None or current_call.get() is not None or not scope.run.is_on_loop(loop):
            return self._make(loop, coroutine, context, options)
        child = scope.child()
        # Setting and resetting around the creation, rather than a context of our own, because the
        # task copies the present context unless the caller gave it one.
        if context is None:
            token = current_scope.set(child)
            try:
                task = self._make(loop, coroutine, None, options)
            finally:
                current_scope.reset(token)
        else:
            context.run(current_scope.set, child)
            task = self._make(loop, coroutine, context, options)
        # After the task's first step, which the loop has in its queue by now.
        child.placed = True
        loop.call_soon(child.leave_place)
        scope.run.parking.task_began(scope, child)
        task.add_done_callback(functools.partial(_task_over, scope, child))
        return task

    def _make(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: object,
        context: Context | None,
        options: dict[str, object],
    ) -> asyncio.Future[object]:
        if context is not None:
            options["context"] = context
        if callable(self.former):
            return cast("asyncio.Future[object]", self.former(loop, coroutine, **options))
        return asyncio.Task(coroutine, loop=loop, **options)  # pyright: ignore[reportArgumentType, reportUnknownVariableType] - passed through


def _task_over(scope: Scope, child: Scope, _: asyncio.Future[object]) -> None:
    scope.join(child)
    scope.run.parking.task_ended(scope, child)


def install_task_factory(loop: asyncio.AbstractEventLoop) -> None:
    """Let tasks on this loop have scopes, until as many `remove_task_factory` follow."""
    factory = loop.get_task_factory()
    if isinstance(factory, ScopedTaskFactory):
        factory.users += 1
    else:
        loop.set_task_factory(ScopedTaskFactory(factory))  # pyright: ignore[reportArgumentType] - wider than the stub's protocol


def remove_task_factory(loop: asyncio.AbstractEventLoop) -> None:
    """Undo one `install_task_factory`; someone else's factory set meanwhile is left alone."""
    factory = loop.get_task_factory()
    if isinstance(factory, ScopedTaskFactory):
        factory.users -= 1
        if factory.users == 0:
            loop.set_task_factory(factory.former)  # pyright: ignore[reportArgumentType] - as it was found
