"""What runs print and log: shown as usual, and kept line by line for whoever looks later.

The engine names the call whose code is running in `target`; what is written without a target is only
passed on. Lines go through a bounded buffer to a thread that hands them to the store in batches, so that
a slow, full or broken log store costs log lines and never a run. `hooks` listens to the streams.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from kitaru.clock import SYSTEM_CLOCK, Clock
from kitaru.logs.hooks import Hooks
from kitaru.model import LogLine, LogSource, positional_record

logger = logging.getLogger(__name__)

Sink = Callable[[Sequence[LogLine]], None]

LINE_LIMIT = 64 * 1024  # characters; a longer line is kept as several
_BATCH = 1_000  # lines per transaction: short enough not to keep a run's commits waiting
_CAPACITY = 20_000  # lines that wait for a slow store
_CHARACTERS = 16 * 1024 * 1024  # and how long they may be together


@positional_record
class LogTarget:
    """Whose output it is; the position is empty for the flow's own body."""

    exec_id: str
    position: str
    attempt: int


target: ContextVar[LogTarget | None] = ContextVar("kitaru_log_target", default=None)
"""The call whose code runs in this context."""

_captures: dict[str, LogCapture] = {}  # the executions in flight
_lock = threading.RLock()  # reentrant: a signal handler or a finalizer may print while it is held


class LogCapture:
    """Keeps what the runs on one store write.

    Args:
        sink: Takes lines to where they are kept, such as `store.append_logs`. Called from one thread.
        clock: Where lines get their time from.
        interval: How many seconds lines may wait for others.
        capacity: How many lines wait for a slow sink before the oldest are dropped.
        enabled: Whether to capture at all.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        clock: Clock = SYSTEM_CLOCK,
        interval: float = 0.25,
        capacity: int = _CAPACITY,
        enabled: bool = True,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._interval = interval
        self._capacity = capacity
        self._enabled = enabled
        self._complained = False
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        # Per call, the unfinished lines of each stream and thread.
        self._unfinished: dict[LogTarget, dict[tuple[LogSource, int], str]] = {}
        self._changed = threading.Condition(threading.RLock())
        self._lines: deque[LogLine] = deque()
        self._characters = 0
        self._dropped: dict[LogTarget, int] = {}
        self._added = 0  # lines ever added; `_done` of them are stored or given up
        self._done = 0
        self._hurry = False
        self._closed = False
        self._flusher: threading.Thread | None = None

    def start(self, exec_id: str) -> None:
        """Capture what this execution writes; safe to repeat."""
        if not self._enabled:
            return
        with _lock:
            _captures[exec_id] = self
            _hooks.install()

    def stop(self, exec_id: str) -> None:
        """Capture nothing more of this execution; its unfinished lines are kept as they are."""
        with _lock:
            for unfinished in [key for key in self._unfinished if key.exec_id == exec_id]:
                self.finish(unfinished)
            _captures.pop(exec_id, None)
            if not _captures:
                _hooks.uninstall()

    def finish(self, finished: LogTarget) -> None:
        """Keep a call's unfinished lines: it writes nothing more. Free if it has none."""
        if not self._unfinished or finished not in self._unfinished:
            return
        with _lock:
            for (source, _), text in self._unfinished.pop(finished, {}).items():
                self._add_text(finished, source, text)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all lines so far are stored or given up; return whether they are."""
        with self._changed:
            if self._done >= self._added and not self._dropped:
                return True
            wanted = self._added
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= wanted and not self._hurry, timeout)

    def close(self) -> None:
        """Store what is there and end the thread; what is written later starts another."""
        self.flush()
        with self._changed:
            thread, self._flusher = self._flusher, None
            self._closed = True
            self._changed.notify_all()
        if thread is not None:
            thread.join(5.0)

    def forget(self) -> None:
        """Begin anew without threads, locks and lines, as in a forked child."""
        self._begin()

    def write(self, where: LogTarget, source: LogSource, text: str) -> None:
        """Take a piece of output; whole lines go on, the rest waits for its newline."""
        key = (source, threading.get_ident())
        with _lock:
            pieces = self._unfinished.get(where)
            rest = text if pieces is None else pieces.pop(key, "") + text
            *lines, rest = rest.split("\n")
            for line in lines:
                self._add_text(where, source, line)
            # A progress bar goes back to the start of its line for ever.
            rest = rest[:-1].rpartition("\r")[2] + rest[-1:]
            while len(rest) >= LINE_LIMIT:
                self._add_text(where, source, rest[:LINE_LIMIT])
                rest = rest[LINE_LIMIT:]
            if rest:
                self._unfinished.setdefault(where, {})[key] = rest
            elif not pieces:
                self._unfinished.pop(where, None)

    def write_record(self, where: LogTarget, record: logging.LogRecord) -> None:
        """Take a log record."""
        for message in _split(_clean(_message_of(record))):
            self._add(
                LogLine(
                    exec_id=where.exec_id,
                    position=where.position,
                    attempt=where.attempt,
                    source=LogSource.LOGGING,
                    level=_clean(record.levelname),
                    logger=_clean(record.name),
                    message=message,
                    module=_clean(record.module),
                    filename=_clean(record.filename),
                    lineno=record.lineno,
                    logged_at=self._clock.now(),
                )
            )

    def _add_text(self, where: LogTarget, source: LogSource, text: str) -> None:
        # What a carriage return has overwritten is not to be seen on a terminal either.
        for message in _split(_clean(text.rstrip("\r").rpartition("\r")[2])):
            self._add(_line(where, source, message, self._clock.now()))

    def _add(self, line: LogLine) -> None:
        with self._changed:
            self._lines.append(line)
            self._added += 1
            self._characters += len(line.message)
            while len(self._lines) > self._capacity or self._characters > _CHARACTERS:
                self._drop(self._take())
            if self._flusher is None or not self._flusher.is_alive():
                self._closed = False
                self._flusher = threading.Thread(
                    target=self._store_lines, name="kitaru-logs", daemon=True
                )
                self._flusher.start()
            elif len(self._lines) == 1:
                self._changed.notify_all()

    def _take(self) -> LogLine:
        line = self._lines.popleft()
        self._characters -= len(line.message)
        return line

    def _drop(self, line: LogLine) -> None:
        where = LogTarget(line.exec_id, line.position, line.attempt)
        self._dropped[where] = self._dropped.get(where, 0) + 1
        self._done += 1

    def _store_lines(self) -> None:
        target.set(None)  # where threads inherit their starter's context
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._lines or (self._hurry and self._dropped) or self._closed
                )
                if self._closed:
                    return
                if not self._hurry:
                    self._changed.wait_for(lambda: self._hurry or self._closed, self._interval)
                lines = [self._take() for _ in range(min(len(self._lines), _BATCH))]
                dropped, self._dropped = self._dropped, {}
            try:
                self._sink([*_notices(dropped, self._clock.now()), *lines])
            except Exception as error:  # noqa: BLE001 - a log store may fail in any way, a run must not
                self._complain(error)
                with self._changed:
                    for line in lines:
                        self._drop(line)
                    for where, count in dropped.items():
                        self._dropped[where] = self._dropped.get(where, 0) + count
            else:
                with self._changed:
                    self._done += len(lines)
            with self._changed:
                self._hurry = self._hurry and bool(self._lines)
                self._changed.notify_all()

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            logger.warning("log lines of runs cannot be stored, the runs go on: %s", error)


_all: weakref.WeakSet[LogCapture] = weakref.WeakSet()


def flush(timeout: float = 5.0) -> bool:
    """Wait until what this process's runs have written is stored; return whether it is."""
    stored = [capture.flush(timeout) for capture in list(_all)]
    return all(stored)


def _line(where: LogTarget, source: LogSource, message: str, moment: int) -> LogLine:
    return LogLine(
        exec_id=where.exec_id,
        position=where.position,
        attempt=where.attempt,
        source=source,
        level=None,
        logger=None,
        message=message,
        module=None,
        filename=None,
        lineno=None,
        logged_at=moment,
    )


def _notices(dropped: dict[LogTarget, int], moment: int) -> list[LogLine]:
    return [
        _line(where, LogSource.STDERR, f"({count} lines dropped)", moment)
        for where, count in dropped.items()
    ]


def _message_of(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit; the program's own handlers complain
        message = f"{record.msg} {record.args!r}"
    if record.exc_info and not record.exc_text:
        return f"{message}\n{_FORMATTER.formatException(record.exc_info)}"
    return f"{message}\n{record.exc_text}" if record.exc_text else message


_FORMATTER = logging.Formatter()


def _clean(text: str) -> str:
    """Return text that every database takes: no lone surrogates, no NUL."""
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _split(text: str) -> list[str]:
    if len(text) <= LINE_LIMIT:
        return [text]
    return [text[start : start + LINE_LIMIT] for start in range(0, len(text), LINE_LIMIT)]


class _Watcher:
    """Gives what the hooks see to the capture of the run that wrote it."""

    def wants(self) -> bool:
        return target.get() is not None

    def see_text(self, source: LogSource, text: str) -> None:
        where = target.get()
        capture = None if where is None else _captures.get(where.exec_id)
        if where is not None and capture is not None:
            capture.write(where, source, text)

    def see_record(self, record: logging.LogRecord) -> None:
        where = target.get()
        capture = None if where is None else _captures.get(where.exec_id)
        if where is not None and capture is not None and not _is_ours(record.name):
            capture.write_record(where, record)


def _is_ours(logger_name: str) -> bool:
    return logger_name == "kitaru" or logger_name.startswith("kitaru.")


_hooks = Hooks(_Watcher())


def _forget_runs() -> None:
    """Leave the runs to the parent process, whose locks may have been held when it forked."""
    global _lock  # noqa: PLW0603 - see above
    _lock = threading.RLock()
    _captures.clear()
    for capture in list(_all):
        capture.forget()


atexit.register(flush, 2.0)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_runs)
