"""Watching an execution of this process or another one until it is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout

from kitaru.cli.display import Show, display
from kitaru.cli.output import OutputFormat
from kitaru.cli.tree import failure_line
from kitaru.client import Execution, ExecutionEvent, ExecutionStatus, KitaruClient
from kitaru.client.wording import one_line
from kitaru.errors import (
    FailureOrigin,
    KitaruDivergenceError,
    KitaruExecutionError,
    KitaruTimeoutError,
    KitaruUserCodeError,
)
from kitaru.model import EventKind

_PAUSE_SECONDS = 0.2
_SHARE = 5  # looking takes at most a fifth of the time, however large the execution is
_TAKEN_UP_SECONDS = (
    2.0  # in which this process goes on with an execution that has left it, if at all
)


@contextmanager
def result_alone_on_stdout(output: OutputFormat) -> Generator[None]:
    """In JSON mode, send what flows print to stderr: stdout is for the result."""
    if output == "json":
        with redirect_stdout(sys.stderr):
            yield
    else:
        yield


class Progress:
    """What the calls of an execution that runs have told last of how far they are.

    Args:
        client: Where to look.
        exec_id: The execution.
    """

    def __init__(self, client: KitaruClient, exec_id: str) -> None:
        self._client = client
        self._exec_id = exec_id
        self._cursor: str | None = None
        self._told: dict[str, str] = {}

    def of(self, execution: Execution) -> dict[str, str]:
        """Return a text for each call that is running and has told something; the flow's own id is ''."""
        for event in self._client.executions.events(
            self._exec_id, since=self._cursor, follow=False
        ):
            self._cursor = event.cursor
            if event.kind == EventKind.CHECKPOINT_STARTED:
                self._told.pop(event.checkpoint_id or "", None)  # of the attempt before
            elif event.kind == EventKind.CHECKPOINT_PROGRESS:
                self._told[event.checkpoint_id or ""] = _progress_text(event)
        running = {
            call.call_id for call in execution.checkpoints if call.status is ExecutionStatus.RUNNING
        }
        if not execution.status.is_finished:
            running.add("")
        return {call_id: text for call_id, text in self._told.items() if call_id in running}


def _progress_text(event: ExecutionEvent) -> str:
    percent = event.data.get("percent")
    message = one_line(event.message or "")
    return message if percent is None else f"{message} ({percent:.0%})"


class _Follower:
    """Looks at an execution and shows it, and says how long to pause before the next look."""

    def __init__(self, client: KitaruClient, exec_id: str, show: Show) -> None:
        self._client = client
        self._exec_id = exec_id
        self._show = show
        self._progress = Progress(client, exec_id)
        self.pause = _PAUSE_SECONDS

    def look(self) -> Execution:
        """Show the execution as it is now, and return it."""
        began = time.monotonic()
        execution = self._client.executions.get(self._exec_id)
        self._show(execution, self._progress.of(execution))
        self.pause = max(_PAUSE_SECONDS, _SHARE * (time.monotonic() - began))
        return execution


def follow_here(client: KitaruClient, begin: Callable[[], Sequence[str]]) -> list[Execution]:
    """Show executions that this process runs, on stderr, and return them when they are over or have left.

    Args:
        client: Where to look.
        begin: Starts them and returns their ids. Called with the display in place, so that what they
            print is captured before the display takes it.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped one; it can be continued.
    """
    with display(sys.stderr, "Kitaru: ") as show:
        return [_follow_here(client, exec_id, show) for exec_id in begin()]


def _follow_here(client: KitaruClient, exec_id: str, show: Show) -> Execution:
    from kitaru import worker

    follower = _Follower(client, exec_id, show)
    idle_since = time.monotonic()
    while True:
        try:
            worker.wait_for(exec_id, timeout=follower.pause)
        except KitaruTimeoutError:
            pass
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_how_to_go_on(client, exec_id)) from None
        is_here = worker.is_running_here(exec_id)
        if not is_here and worker.was_interrupted():
            # It has left between two looks.
            raise KeyboardInterrupt(_how_to_go_on(client, exec_id))
        execution = follower.look()
        if execution.status.is_finished:
            return execution
        if is_here or execution.status is ExecutionStatus.RUNNING:
            idle_since = time.monotonic()
        elif (
            execution.status is ExecutionStatus.WAITING
            or time.monotonic() - idle_since > _TAKEN_UP_SECONDS
        ):
            return execution  # it has left this process


def _how_to_go_on(client: KitaruClient, exec_id: str) -> str:
    status = client.executions.get(exec_id).status
    if status is ExecutionStatus.WAITING:
        return f"interrupted. It goes on waiting; `kitaru executions why {exec_id}` says for what."
    return (
        f"interrupted. What is recorded is kept; go on with `kitaru executions recover {exec_id}`."
    )


def follow_anywhere(client: KitaruClient, exec_id: str) -> Execution:
    """Show an execution on stdout, whoever runs it, until it is over, and return it."""
    with display(sys.stdout) as show:
        follower = _Follower(client, exec_id, show)
        while not (execution := follower.look()).status.is_finished:
            time.sleep(follower.pause)
        return execution


def wait_quietly(client: KitaruClient, exec_id: str) -> Execution:
    """Return an execution when it is over, whoever runs it."""
    while True:
        execution = client.executions.get(exec_id)
        if execution.status.is_finished:
            return execution
        time.sleep(_PAUSE_SECONDS)


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
