"""What `.submit()` hands out: the future result of a call that runs beside the flow."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from kitaru.engine.context import current_call, current_scope
from kitaru.errors import KitaruContextError

if TYPE_CHECKING:
    from kitaru.engine.calls import Call

R = TypeVar("R")


class CheckpointFuture(concurrent.futures.Future[R], Generic[R]):
    """The result of a submitted call, now or later.

    It is a `concurrent.futures.Future`, so `as_completed` and `wait` take it; in an async flow it can be
    awaited. Given as an argument to another checkpoint, alone or inside a list, tuple or dict, the other
    body gets its value.
    """

    # Set right after construction; a Future's own __init__ takes nothing.
    call: Call

    @property
    def call_id(self) -> str:
        """What people read and type to name the call: `name`, `name-2`, or the `id=` given."""
        return self.call.call_id

    def result(self, timeout: float | None = None) -> R:
        """Return the call's value, waiting for it up to `timeout` seconds.

        Raises:
            TimeoutError: It is not there yet.
            KitaruContextError: The event loop that must run the call would be blocked; `await` it.
        """
        self._may_block()
        if timeout is not None and not super().done():
            self._note_peek()
        try:
            return super().result(timeout)
        finally:
            if super().done():
                self._note_taken()

    def load(self) -> R:
        """Return the call's value; the same as `result()`."""
        return self.result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, or None, waiting for it up to `timeout` seconds.

        Raises:
            TimeoutError: It has not finished yet.
        """
        self._may_block()
        if timeout is not None and not super().done():
            self._note_peek()
        try:
            return super().exception(timeout)
        finally:
            if super().done():
                self._note_taken()

    def done(self) -> bool:
        """Return whether the call has finished."""
        self._note_peek()
        return super().done()

    def __await__(self) -> Generator[Any, None, R]:
        # A cancelled awaiter must not cancel the call: others may wait for it too.
        inner = asyncio.shield(asyncio.wrap_future(self))
        try:
            return (yield from inner.__await__())
        finally:
            if super().done():
                self._note_taken()

    def settled(self) -> R:
        """Return the value of a finished call for the engine's own use; nothing is noted as taken."""
        return super().result(0)

    def wait_settled(self) -> None:
        """Block until the call has finished, for the engine's own use."""
        concurrent.futures.wait((self,))

    @property
    def is_settled(self) -> bool:
        """Whether the call has finished, for the engine's own use."""
        return super().done()

    def _may_block(self) -> None:
        loop = self.call.scope.run.loop
        if loop is None or super().done():
            return
        try:
            blocked = asyncio.get_running_loop() is loop
        except RuntimeError:
            return
        if blocked:
            message = (
                f"`.result()` of call {self.call_id!r} would block the event loop that the call needs."
                f" Use `await future`."
            )
            raise KitaruContextError(message)

    def _note_taken(self) -> None:
        scope = current_scope.get()
        # A call that could not even be settled (its arguments cannot be encoded) has no position.
        if scope is not None and current_call.get() is None and self.call.position:
            scope.taken(self, self.call.position)  # pyright: ignore[reportArgumentType] - identity only

    def _note_peek(self) -> None:
        scope = current_scope.get()
        if scope is not None and current_call.get() is None and not super().done():
            scope.peeked()


class CheckpointFutures(Sequence[CheckpointFuture[R]], Generic[R]):
    """What `.map()` and `.product()` hand out: futures in the order of the inputs."""

    def __init__(self, futures: Sequence[CheckpointFuture[R]]) -> None:
        self._futures = tuple(futures)

    @overload
    def __getitem__(self, index: int) -> CheckpointFuture[R]: ...
    @overload
    def __getitem__(self, index: slice) -> CheckpointFutures[R]: ...
    def __getitem__(self, index: int | slice) -> CheckpointFuture[R] | CheckpointFutures[R]:
        if isinstance(index, slice):
            return CheckpointFutures(self._futures[index])
        return self._futures[index]

    def __len__(self) -> int:
        return len(self._futures)

    def __iter__(self) -> Iterator[CheckpointFuture[R]]:
        return iter(self._futures)

    def result(self, timeout: float | None = None) -> list[R]:
        """Return all values in the order of the inputs, waiting up to `timeout` seconds for each.

        Raises:
            BaseException: What the first of the failed calls raised, by input order.
        """
        return [future.result(timeout) for future in self._futures]

    def load(self) -> list[R]:
        """Return all values; the same as `result()`."""
        return self.result()

    def __await__(self) -> Generator[Any, None, list[R]]:
        values: list[R] = []
        for future in self._futures:
            value = yield from future.__await__()
            values.append(value)
        return values

    def __repr__(self) -> str:
        return f"<CheckpointFutures of {len(self)} calls>"


# Deeper than anyone nests futures by hand; also ends the search in a value that contains itself.
_MAX_DEPTH = 16


_ATOMS = frozenset({type(None), bool, int, float, str, bytes})


def find_futures(value: Any, found: list[CheckpointFuture[Any]], depth: int = 0) -> None:
    """Collect the futures in a value: itself, or inside lists, tuples and dicts."""
    if type(value) in _ATOMS:
        return
    if isinstance(value, CheckpointFuture):
        found.append(value)  # pyright: ignore[reportUnknownArgumentType] - of any result
    elif depth < _MAX_DEPTH:
        items: Iterable[Any] = ()
        if isinstance(value, list | tuple | CheckpointFutures):
            items = value  # pyright: ignore[reportUnknownVariableType] - user values
        elif isinstance(value, dict):
            items = value.values()  # pyright: ignore[reportUnknownVariableType] - user values
        for item in items:  # pyright: ignore[reportUnknownVariableType] - user values
            find_futures(item, found, depth + 1)


def with_values(value: Any) -> Any:
    """Return a value with its finished futures replaced by their results.

    Containers without futures stay the same objects.
    """
    if isinstance(value, CheckpointFuture):
        return value.settled()  # pyright: ignore[reportUnknownVariableType] - user values
    if isinstance(value, CheckpointFutures):
        return [future.settled() for future in value]  # pyright: ignore[reportUnknownVariableType] - user values
    found: list[CheckpointFuture[Any]] = []
    find_futures(value, found)
    if not found:
        return value
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        return {key: with_values(item) for key, item in entries.items()}
    items = [with_values(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, list):
        return items
    make = getattr(cast("object", type(value)), "_make", tuple)  # a NamedTuple keeps its type
    return make(items)
