"""The terminal as a place to ask: lines read so that they can be given up, and others kept off meanwhile.

Nothing here knows waits. Reading leaves the terminal in its own line mode, where the kernel edits and
echoes: there is no mode to restore, whatever happens to the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Generator
from typing import TextIO

logger = logging.getLogger(__name__)

_LINE_LIMIT = 4095  # what a terminal in line mode passes on of one line; it drops the rest silently
_LOOK_SECONDS = 0.5  # between two looks whether the process is in the foreground again


class EndOfInput(Exception):  # noqa: N818 - a way to leave, as StopIteration
    """The person pressed Ctrl-D, or the terminal has gone."""


class Interrupted(Exception):  # noqa: N818 - a way to leave
    """The question is over while it was being asked."""


class LineTooLong(Exception):  # noqa: N818 - the person's doing, and told to them
    """The terminal has cut the line."""


# Escape sequences first, as wholes: without their first character, the rest of them would be shown.
_CONTROLS = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"  # what reorders a line, or breaks it
)


def plain(text: str) -> str:
    """Return a text without anything that would move the cursor, colour or reorder what is shown."""
    return _CONTROLS.sub("", text)


def one_line(text: str) -> str:
    """Return a text as `plain` does, in one line."""
    return " ".join(plain(text).split())


class Terminal:
    """Where questions are asked: a keyboard and a screen.

    Args:
        stdin: The keyboard; what `sys.stdin` is at the time, if not given.
        stdout: The screen; what `sys.stdout` is at the time, if not given.
    """

    def __init__(self, stdin: TextIO | None = None, stdout: TextIO | None = None) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._lock = threading.Lock()
        self._waker: int | None = None
        self._wakee: int | None = None
        self._typed = b""
        self._over: Callable[[], bool] = _never

    @contextlib.contextmanager
    def session(self, is_over: Callable[[], bool]) -> Generator[None]:
        """Have the terminal to oneself in this block.

        Args:
            is_over: Whether what is asked in the block has become pointless. After it has turned true,
                `interrupt` ends the block's reading.
        """
        with _asking, displays_paused():
            with self._lock:
                self._wakee, self._waker = os.pipe()
            self._over = is_over
            self._discard()
            try:
                yield
            finally:
                self._over = _never
                with self._lock:
                    os.close(self._wakee)
                    os.close(self._waker)
                    self._wakee = self._waker = None

    def interrupt(self) -> None:
        """Have a session look at once whether it is over; from any thread, and without waiting."""
        with self._lock:
            if self._waker is not None:
                os.write(self._waker, b"\0")

    def say(self, text: str = "") -> None:
        """Show a line, or several."""
        self._write(f"{plain(text)}\n")

    def ask(self, prompt: str) -> str:
        """Show a prompt and return the line that is typed.

        Raises:
            Interrupted: The session is over; what was half typed is gone.
            EndOfInput: The person wants to leave.
            LineTooLong: The terminal has cut the line.
        """
        if self._over():
            raise Interrupted
        self._write(plain(prompt))
        try:
            raw = self._read_line()
        except (Interrupted, EndOfInput):
            # The next thing that is printed starts a line of its own.
            self._write("\n")
            raise
        if len(raw) >= _LINE_LIMIT:
            raise LineTooLong
        stream = self._stdin or sys.stdin
        return raw.decode(stream.encoding or "utf-8", "replace").removesuffix("\r")

    def _write(self, text: str) -> None:
        stream = self._stdout or sys.stdout
        encoding = stream.encoding or "utf-8"
        try:
            stream.write(text.encode(encoding, "replace").decode(encoding))
            stream.flush()
        except (OSError, ValueError) as error:  # hung up, or closed
            raise EndOfInput from error

    def _descriptor(self) -> int:
        try:
            return (self._stdin or sys.stdin).fileno()
        except (
            OSError,
            ValueError,
            AttributeError,
        ) as error:  # closed, or replaced by something else
            raise EndOfInput from error

    # The tests run on POSIX.
    if sys.platform == "win32":  # pragma: no cover

        def _read_line(self) -> bytes:
            import msvcrt

            typed = ""
            while not self._over():
                if not msvcrt.kbhit():
                    threading.Event().wait(
                        0.05
                    )  # there is no way to wait for keys and for others at once
                    continue
                key = msvcrt.getwch()
                if key in "\r\n":
                    self._write("\n")
                    return typed.encode()
                if key in "\x04\x1a" and not typed:
                    raise EndOfInput
                if key == "\b":
                    typed = typed[:-1]
                    self._write("\b \b")
                elif key.isprintable():
                    typed += key
                    self._write(key)
            raise Interrupted

        def _discard(self) -> None:
            import msvcrt

            while msvcrt.kbhit():
                msvcrt.getwch()

    else:

        def _read_line(self) -> bytes:
            keyboard = self._descriptor()
            while b"\n" not in self._typed:
                self._wait_for_keys(keyboard)
                try:
                    piece = os.read(keyboard, 65536)
                except OSError as error:  # hung up
                    raise EndOfInput from error
                if not piece and not self._typed:
                    raise EndOfInput
                # Ctrl-D in the middle of a line passes on what there is, and at its end closes it.
                self._typed += piece or b"\n"
            line, _, self._typed = self._typed.partition(b"\n")
            return line

        def _wait_for_keys(self, keyboard: int) -> None:
            """Return when there is something to read.

            Raises:
                Interrupted: The session is over.
            """
            import select

            wakee = self._wakee
            if wakee is None:
                message = "a terminal is asked outside of a session"
                raise AssertionError(message)
            while True:
                # A process that reads while it is in the background is stopped with all its flows. The
                # keys are the shell's then.
                watched = [] if _is_in_background(keyboard) else [keyboard]
                # Never for ever: a Ctrl-C that comes just before the call does not end it, and Python acts
                # on it when the call is over.
                ready, _, _ = select.select([*watched, wakee], [], [], _LOOK_SECONDS)
                if wakee in ready:
                    os.read(wakee, 4096)
                if self._over():
                    self._discard()
                    raise Interrupted
                if keyboard in ready and not _is_in_background(keyboard):
                    return

        def _discard(self) -> None:
            """Forget what was typed so far: it was not meant for what is asked next."""
            import termios

            self._typed = b""
            with contextlib.suppress(EndOfInput, termios.error):
                keyboard = self._descriptor()
                if not _is_in_background(keyboard):
                    termios.tcflush(keyboard, termios.TCIFLUSH)


def is_interactive() -> bool:
    """Whether someone sits at this process's terminal who can be asked right now.

    Not in a background job, and not while something else reads keys one by one, as a line editor does.
    """
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        keyboard = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):  # none, closed, or replaced by something else
        return False
    return _is_own_terminal(keyboard) and _passes_lines(keyboard)


def _is_in_background(keyboard: int) -> bool:
    """Whether reading would stop this process."""
    if sys.platform == "win32":
        return False
    try:
        return os.tcgetpgrp(keyboard) != os.getpgrp()
    except OSError:  # not the terminal that controls this process, or no terminal any more
        return False


def _is_own_terminal(keyboard: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(keyboard) == os.getpgrp()
    except OSError:  # the terminal of someone else, as that of a daemon is
        return False


def _passes_lines(keyboard: int) -> bool:
    if sys.platform == "win32":
        return True
    import termios

    try:
        local_modes = termios.tcgetattr(keyboard)[3]
    except termios.error:
        return False
    return bool(local_modes & termios.ICANON)


# --- who else draws --------------------------------------------------------------------------


class _Display:
    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self.pause = pause
        self.resume = resume


_asking = threading.Lock()  # one question at a time, whichever prompter asks it
_displays: list[_Display] = []
_displays_lock = threading.RLock()
_paused: list[_Display] | None = None


def register_display(pause: Callable[[], None], resume: Callable[[], None]) -> Callable[[], None]:
    """Have something that draws on the terminal pause while a question is asked there.

    They are called in turns, in the thread that asks; `pause` at once and here if it asks already.

    Returns:
        A function that undoes it; to be called when the display has ended.
    """
    display = _Display(pause, resume)
    with _displays_lock:
        _displays.append(display)
        if _paused is not None:
            _paused.append(display)
            pause()

    def unregister() -> None:
        with _displays_lock:
            if display in _displays:
                _displays.remove(display)

    return unregister


@contextlib.contextmanager
def displays_paused() -> Generator[None]:
    """Keep the registered displays from drawing in this block."""
    global _paused  # noqa: PLW0603 - there is one terminal
    with _displays_lock:
        paused = _paused = list(_displays)
        for display in paused:
            _call(display.pause)
    try:
        yield
    finally:
        with _displays_lock:
            _paused = None
            for display in paused:
                if display in _displays:
                    _call(display.resume)


def _call(function: Callable[[], None]) -> None:
    try:
        function()
    except Exception:
        # A display that cannot pause is ugly; a question that is not asked is worse.
        logger.exception("a display on the terminal failed")


def _never() -> bool:
    return False
