"""A person at a pseudo-terminal, for tests: sees what is shown, types lines."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import time
from types import TracebackType
from typing import Self

from kitaru.worker.terminal import Terminal

DEADLINE_SECONDS = 30.0  # only a test that fails gets there

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BEGUN = re.compile(r"(?:\x1b(?:\[[0-9;?]*)?|\r)?\Z")


class Person:
    """Sits at our side of a pseudo-terminal; the other side is `theirs`."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self._keyboard = os.fdopen(os.dup(self.theirs), "r", encoding="utf-8")
        self._screen = os.fdopen(os.dup(self.theirs), "w", encoding="utf-8")
        self.terminal = Terminal(self._keyboard, self._screen)
        self.seen = ""
        self._raw = ""
        self._read_up_to = 0
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # what could not be shown after the window was closed
            self._screen.close()
        self._keyboard.close()
        os.close(self.theirs)
        if self._is_open:
            os.close(self.ours)

    def type(self, text: str) -> None:
        """Press keys; `\\n` is Enter, `\\x04` Ctrl-D, `\\x03` Ctrl-C."""
        os.write(self.ours, text.encode())

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self.ours)
        self._is_open = False

    def expect(self, text: str) -> str:
        """Wait until something is shown after what was expected before; return what came until then."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (found := self.seen.find(text, self._read_up_to)) < 0:
            ready, _, _ = select.select([self.ours], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                shown = self.seen[self._read_up_to :]
                message = f"expected {text!r} on the terminal, which shows: {shown!r}"
                raise AssertionError(message)
            self._raw += os.read(self.ours, 65536).decode()
            # What a control sequence begins may be complete with the next piece; it is not text yet.
            begun = _BEGUN.search(self._raw)
            assert begun is not None
            whole = self._raw[: begun.start()]
            self.seen = _CONTROL.sub("", whole).replace("\r\n", "\n")
        start, self._read_up_to = self._read_up_to, found + len(text)
        return self.seen[start : self._read_up_to]

    def answer(self, prompt: str, line: str) -> str:
        """Wait for a prompt, type a line and Enter; return what was shown up to the prompt."""
        shown = self.expect(prompt)
        self.type(f"{line}\n")
        self.expect(f"{line}\n")  # the echo
        return shown
