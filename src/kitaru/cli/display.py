"""Showing executions while they go on: a tree drawn again and again, or lines where that cannot be."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from kitaru.cli.output import moment_text, span_text
from kitaru.cli.tree import failure_line, is_cut_off, wait_line
from kitaru.client import CheckpointCall, Execution, ExecutionStatus

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

Show = Callable[[Execution, Mapping[str, str]], None]
"""Shows an execution, and what its running calls have told last, by call id."""

_PATIENCE_SECONDS = 2.0  # for the end of a question whose execution has gone on elsewhere


@contextmanager
def display(stream: TextIO, prefix: str = "") -> Generator[Show]:
    """Show executions on a stream: redrawn on a terminal, as lines elsewhere."""
    if not stream.isatty():
        yield _Lines(stream, prefix).show
        return
    tree = _LiveTree(stream)
    with tree.shown():
        yield tree.show


class _Lines:
    def __init__(self, stream: TextIO, prefix: str) -> None:
        self._stream = stream
        self._prefix = prefix
        self._changes: dict[str, Changes] = {}

    def show(self, execution: Execution, told: Mapping[str, str]) -> None:
        changes = self._changes.setdefault(execution.exec_id, Changes())
        for line in changes.since(execution, told):
            self._stream.write(f"{self._prefix}{line}\n")
        self._stream.flush()


class Changes:
    """Tells in lines what has happened since the last look."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[ExecutionStatus, int]] = {}
        self._told: Mapping[str, str] = {}
        self._status: ExecutionStatus | None = None

    def since(self, execution: Execution, told: Mapping[str, str]) -> Iterator[str]:
        """Return a line for each call and status that has changed, and for what calls have told."""
        if self._status is None:
            yield f"execution {execution.exec_id} of flow {execution.flow_name!r}"
        waits = {wait.wait_id: wait for wait in execution.waits}
        for call in execution.checkpoints:
            now = (call.status, len(call.attempts))
            if self._calls.get(call.call_id) != now:
                self._calls[call.call_id] = now
                asked = waits.get(call.call_id) if call.checkpoint_type == "wait" else None
                yield _line_of(call) if asked is None else f"{call.call_id} {wait_line(asked)}"
        for call_id, text in told.items():
            if self._told.get(call_id) != text:
                yield f"{call_id or execution.flow_name}: {text}"
        self._told = dict(told)
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
    if call.original_call_id is not None:
        return "cached"
    if call.checkpoint_type == "timer" and call.status is ExecutionStatus.WAITING:
        return f"sleeps until {moment_text(call.wakes_at)}"
    return call.status.value


class _LiveTree:
    """A tree at the bottom of the terminal, below what flows print; out of the way while someone is asked."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream, highlight=False)
        self._tree: RenderableType = ""
        self._live: Live | None = None
        self._lock = threading.RLock()
        self._undisturbed = threading.Event()
        self._undisturbed.set()

    @contextmanager
    def shown(self) -> Generator[None]:
        """Keep the tree on the terminal in this block, and leave its last state there."""
        from kitaru import worker

        with self._redirected():
            self._resume()
            unregister = worker.register_display(self._pause, self._resume)
            try:
                yield
            finally:
                # What is said to the person last is not to be torn apart by the tree.
                self._undisturbed.wait(_PATIENCE_SECONDS)
                unregister()
                with self._lock:
                    if self._live is None:
                        self._resume()
                    self._stop(leave=True)

    def show(self, execution: Execution, told: Mapping[str, str]) -> None:
        """Draw an execution, now or as soon as nobody is asked any more."""
        from kitaru.cli.showing import tree_of

        tree = tree_of(execution, told)
        with self._lock:
            self._tree = tree
            if self._live is not None:
                self._live.update(tree, refresh=True)

    def print(self, text: str, stream: TextIO) -> None:
        """Write whole lines above the tree; into the stream itself while there is none."""
        with self._lock:
            if self._live is None:
                stream.write(text)
                stream.flush()
            else:
                self._console.out(text, end="", highlight=False)

    @property
    def is_drawn(self) -> bool:
        """Whether there is a tree at the bottom that must not be written into."""
        return self._live is not None

    def _pause(self) -> None:
        with self._lock:
            self._undisturbed.clear()
            self._stop(leave=False)

    def _resume(self) -> None:
        from rich.live import Live

        with self._lock:
            self._live = Live(
                self._tree,
                console=self._console,
                auto_refresh=False,
                vertical_overflow="ellipsis",
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=self._tree != "")
            self._undisturbed.set()

    def _stop(self, *, leave: bool) -> None:
        if self._live is not None:
            self._live.transient = not leave
            self._live.stop()
            self._live = None

    @contextmanager
    def _redirected(self) -> Generator[None]:
        """Have what flows print appear above the tree, unless it is on its way into a file."""
        former = {name: getattr(sys, name) for name in ("stdout", "stderr")}
        ours = {
            name: _AboveTree(self, stream) for name, stream in former.items() if stream.isatty()
        }
        for name, stream in ours.items():
            setattr(sys, name, stream)
        try:
            yield
        finally:
            for name, stream in ours.items():
                stream.flush()
                # A stream that someone has put around ours meanwhile stays; ours only passes on by now.
                if getattr(sys, name) is stream:
                    setattr(sys, name, former[name])


class _AboveTree:
    """A stream whose lines go above the tree; everything but writing is the stream's own."""

    def __init__(self, tree: _LiveTree, stream: TextIO) -> None:
        self._tree = tree
        self._stream = stream
        self._begun = ""
        self._lock = threading.RLock()  # a signal handler may print while it is held

    def write(self, text: str, /) -> int:
        """Write whole lines, and keep what is no whole line yet."""
        with self._lock:
            whole, newline, rest = f"{self._begun}{text}".rpartition("\n")
            self._begun = rest.rpartition("\r")[2] if self._tree.is_drawn else ""
            if not self._tree.is_drawn:
                self._tree.print(whole + newline + rest, self._stream)
            elif newline:
                self._tree.print(whole + newline, self._stream)
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is no whole line yet as one, such as a question that the flow itself asks."""
        with self._lock:
            if self._begun:
                self.write("\n")
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
