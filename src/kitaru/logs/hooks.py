"""Listening to `print` and `logging` without changing what they do.

While installed, `sys.stdout` and `sys.stderr` are proxies and `logging.Logger.callHandlers` is wrapped;
afterwards all three are as before, unless someone else has replaced them meanwhile: then the proxy that
is left in between only passes on.

`callHandlers` is wrapped, rather than a handler added to the root logger, because a root handler would
switch off `logging.basicConfig()` and the last-resort output of programs that configure no logging.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TextIO

from kitaru.model import LogSource

logger = logging.getLogger(__name__)

_thread = threading.local()


class Watcher(Protocol):
    """Who is told what is written."""

    def wants(self) -> bool:
        """Return whether what this context writes is of interest."""
        ...

    def see_text(self, source: LogSource, text: str) -> None:
        """Take a piece of output that has been written."""
        ...

    def see_record(self, record: logging.LogRecord) -> None:
        """Take a log record that has been handled."""
        ...


class _Quiet:
    """What this thread writes meanwhile has been seen already, or is not to be."""

    def __enter__(self) -> None:
        _thread.quiet = True

    def __exit__(self, *_: object) -> None:
        _thread.quiet = False


def _is_quiet() -> bool:
    return getattr(_thread, "quiet", False)


class _Proxy:
    """A stream that is also watched; everything but writing is the original's."""

    def __init__(self, original: TextIO, source: LogSource, watcher: Watcher) -> None:
        self.kitaru_original = original
        self._kitaru_source = source
        self._kitaru_watcher = watcher

    def write(self, text: str, /) -> int:
        """Write to the original, then tell the watcher."""
        if _is_quiet() or not self._kitaru_watcher.wants():
            return self.kitaru_original.write(text)
        with _Quiet():  # the original may be, or wrap, another proxy
            written = self.kitaru_original.write(text)
            try:
                self._kitaru_watcher.see_text(self._kitaru_source, text)
            except Exception:
                logger.debug("a piece of output was not captured", exc_info=True)
        return written

    def writelines(self, lines: Iterable[str], /) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        # rich would look through us at the stream behind its own proxy and go past the watcher.
        if name == "rich_proxied_file":
            raise AttributeError(name)
        return getattr(self.kitaru_original, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.kitaru_original)

    def __enter__(self) -> _Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.kitaru_original.flush()

    def __repr__(self) -> str:
        return f"<captured by Kitaru: {self.kitaru_original!r}>"


_CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]


class Hooks:
    """The proxies and the wrapper, and what stood in their place.

    Not safe to use from several threads at once; the caller has a lock.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._streams: dict[str, _Proxy] = {}
        self._wrapped: tuple[_CallHandlers, _CallHandlers] | None = None  # the original and ours

    def install(self) -> None:
        """Put them in place, also in place of a stream that someone has put there since."""
        for name, source in (("stdout", LogSource.STDOUT), ("stderr", LogSource.STDERR)):
            present: TextIO | None = getattr(sys, name)
            if present is not None and not isinstance(present, _Proxy):
                self._streams[name] = _Proxy(present, source, self._watcher)
                setattr(sys, name, self._streams[name])
        if self._wrapped is None:
            original = logging.Logger.callHandlers
            self._wrapped = (original, self._watched(original))
            _set_call_handlers(self._wrapped[1])

    def uninstall(self) -> None:
        """Put back what was there, where nobody has put something else."""
        for name, proxy in self._streams.items():
            if getattr(sys, name) is proxy:
                setattr(sys, name, proxy.kitaru_original)
        self._streams.clear()
        if self._wrapped is not None:
            original, ours = self._wrapped
            if logging.Logger.callHandlers is ours:
                _set_call_handlers(original)
            self._wrapped = None

    def _watched(self, original: _CallHandlers) -> _CallHandlers:
        watcher = self._watcher

        def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
            if _is_quiet() or not watcher.wants():
                original(self, record)
                return
            with _Quiet():  # what handlers print is this record once more
                original(self, record)
                try:
                    watcher.see_record(record)
                except Exception:
                    logger.debug("a log record was not captured", exc_info=True)

        return call_handlers


def _set_call_handlers(function: _CallHandlers) -> None:
    logging.Logger.callHandlers = function  # pyright: ignore[reportAttributeAccessIssue] - the same shape, other parameter names
