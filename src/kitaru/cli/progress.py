"""Watching an execution of this process or another one until it is over."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TextIO

from kitaru.cli.output import OutputFormat, span_text
from kitaru.cli.tree import failure_line, is_cut_off
from kitaru.client import CheckpointCall, Execution, ExecutionStatus, KitaruClient
from kitaru.errors import (
    FailureOrigin,
    KitaruDivergenceError,
    KitaruExecutionError,
    KitaruTimeoutError,
    KitaruUserCodeError,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_PAUSE_SECONDS = 0.2
_SHARE = 5  # looking takes at most a fifth of the time, however large the execution is


class Changes:
    """Tells in lines what has happened since the last look."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[ExecutionStatus, int]] = {}
        self._status: ExecutionStatus | None = None

    def since(self, execution: Execution) -> Iterator[str]:
        """Return a line for each call and status that has changed."""
        if self._status is None:
            yield f"execution {execution.exec_id} of flow {execution.flow_name!r}"
        for call in execution.checkpoints:
            now = (call.status, len(call.attempts))
            if self._seen.get(call.call_id) != now:
                self._seen[call.call_id] = now
                yield _line_of(call)
        if execution.status is not self._status:
            self._status = execution.status
            if execution.status is ExecutionStatus.RUNNING:
                return
            span = f" in {span_text(execution.duration)}" if execution.duration else ""
            yield f"{execution.flow_name} {execution.status.value}{span}"


def _line_of(call: CheckpointCall) -> str:
    words = [call.call_id, came_about(call)]
    if call.duration is not None and call.original_call_id is None:
        words.append(f"in {span_text(call.duration)}")
    if len(call.attempts) > 1:
        words.append(f"(attempt {len(call.attempts)})")
    if is_cut_off(call):
        words.append("- cut off when the flow failed")
    if call.failure is not None:
        words.append(f"- {failure_line(call.failure.exception_type, call.failure.message)}")
    return " ".join(words)


def came_about(call: CheckpointCall) -> str:
    """Return in a word what became of a call."""
    if call.is_overridden:
        return "overridden"
    if call.is_reused:
        return "reused"
    return "cached" if call.original_call_id else call.status.value


@contextmanager
def result_alone_on_stdout(output: OutputFormat) -> Generator[None]:
    """In JSON mode, send what flows print to stderr: stdout is for the result."""
    if output == "json":
        with redirect_stdout(sys.stderr):
            yield
    else:
        yield


@contextmanager
def display(stream: TextIO, prefix: str = "") -> Generator[Callable[[Execution], None]]:
    """Show an execution on a stream: redrawn on a terminal, as lines elsewhere."""
    if not stream.isatty():
        seen: dict[str, Changes] = {}

        def tell(execution: Execution) -> None:
            changes = seen.setdefault(execution.exec_id, Changes())
            for line in changes.since(execution):
                stream.write(f"{prefix}{line}\n")
            stream.flush()

        yield tell
        return
    from rich.console import Console
    from rich.live import Live

    from kitaru import worker
    from kitaru.cli.showing import tree_of

    with Live(
        console=Console(file=stream, highlight=False),
        auto_refresh=False,
        vertical_overflow="ellipsis",
        # What a flow prints goes above the tree, unless it is on its way into a file.
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=sys.stderr.isatty(),
    ) as live:
        drawing = _Drawing(live)
        # A question in the same terminal has it to itself.
        unregister = worker.register_display(drawing.pause, drawing.resume)
        try:
            yield lambda execution: drawing.show(tree_of(execution))
        finally:
            unregister()


class _Drawing:
    """A live display that stands still while a question is asked."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lock = threading.Lock()
        self._is_paused = False

    def show(self, tree: RenderableType) -> None:
        with self._lock:
            if not self._is_paused:
                self._live.update(tree, refresh=True)

    def pause(self) -> None:
        with self._lock:
            self._is_paused = True
            self._live.stop()

    def resume(self) -> None:
        with self._lock:
            self._is_paused = False
            self._live.start()


def follow_here(client: KitaruClient, begin: Callable[[], Sequence[str]]) -> list[Execution]:
    """Show executions that this process runs, on stderr, and return them when they are over.

    Args:
        client: Where to look.
        begin: Starts them and returns their ids. Called with the display in place, so that what they
            print is captured before the display takes it.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped one; it can be continued.
    """
    with display(sys.stderr, "Kitaru: ") as show:
        return [_follow_here(client, exec_id, show) for exec_id in begin()]


def _follow_here(
    client: KitaruClient, exec_id: str, show: Callable[[Execution], None]
) -> Execution:
    from kitaru import worker

    pause = _PAUSE_SECONDS
    while True:
        try:
            worker.wait_for(exec_id, timeout=pause)
        except KitaruTimeoutError:
            pause = _show_timed(client, exec_id, show)
        except KeyboardInterrupt:
            message = (
                f"interrupted. What is recorded is kept; go on with"
                f" `kitaru executions recover {exec_id}`."
            )
            raise KeyboardInterrupt(message) from None
        else:
            execution = client.executions.get(exec_id)
            show(execution)
            return execution


def follow_anywhere(client: KitaruClient, exec_id: str) -> Execution:
    """Show an execution on stdout, whoever runs it, until it is over, and return it."""
    with display(sys.stdout) as show:
        while True:
            began = time.monotonic()
            execution = client.executions.get(exec_id)
            show(execution)
            if execution.status.is_finished:
                return execution
            time.sleep(max(_PAUSE_SECONDS, _SHARE * (time.monotonic() - began)))


def wait_quietly(client: KitaruClient, exec_id: str) -> Execution:
    """Return an execution when it is over, whoever runs it."""
    while True:
        execution = client.executions.get(exec_id)
        if execution.status.is_finished:
            return execution
        time.sleep(_PAUSE_SECONDS)


def _show_timed(client: KitaruClient, exec_id: str, show: Callable[[Execution], None]) -> float:
    began = time.monotonic()
    show(client.executions.get(exec_id))
    return max(_PAUSE_SECONDS, _SHARE * (time.monotonic() - began))


def check_completed(execution: Execution) -> None:
    """Raise what an execution that ended badly stands for.

    Raises:
        KitaruExecutionError: It did not complete.
    """
    if execution.status is ExecutionStatus.COMPLETED:
        return
    origin = FailureOrigin.UNKNOWN if execution.failure is None else execution.failure.origin
    named = f"execution {execution.exec_id!r} of flow {execution.flow_name!r}"
    if execution.failure is None:
        reason = f": {execution.status_reason}" if execution.status_reason else ""
        is_cancelled = execution.status is ExecutionStatus.CANCELLED
        by = f" by {execution.cancel_requested_by}" if execution.cancel_requested_by else ""
        became = f"was cancelled{by}" if is_cancelled else f"is {execution.status.value}"
        message = f"{named} {became}{reason}."
    else:
        failed = failure_line(
            execution.failure.exception_type, execution.failure.message, limit=500
        )
        message = f"{named} failed: {failed}"
    message += f"\n  look at it: kitaru executions get {execution.exec_id}"
    if execution.status is ExecutionStatus.FAILED:
        message += f"\n  retry it:   kitaru executions retry {execution.exec_id}"
    elif not execution.status.is_finished:
        message += f"\n  go on:      kitaru executions recover {execution.exec_id}"
    classes: dict[FailureOrigin, type[KitaruExecutionError]] = {
        FailureOrigin.USER_CODE: KitaruUserCodeError,
        FailureOrigin.DIVERGENCE: KitaruDivergenceError,
    }
    raise classes.get(origin, KitaruExecutionError)(
        message, exec_id=execution.exec_id, status=execution.status.value, failure_origin=origin
    )
