"""Asks open questions in the terminal, in a thread of its own, one at a time.

Flows in threads or on loops are never blocked by a question: they put it into the queue and learn of the
answer from the store, as they learn of answers from anywhere. The thread lives while there are questions.

A question that is over while it is asked (answered elsewhere, expired, its run has left) is taken back at
once. `dialogue.py` has what is said, `terminal.py` how lines are read.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from kitaru.errors import KitaruError, KitaruNotFoundError, KitaruStateError
from kitaru.ids import current_user
from kitaru.model import Resolution, WaitRecord, WaitStatus
from kitaru.worker.dialogue import (
    Aborted,
    Skipped,
    compose,
    conclude,
    how_to_answer,
    introduce,
)
from kitaru.worker.terminal import (
    EndOfInput,
    Interrupted,
    Terminal,
    is_interactive,
    register_display,
)

__all__ = ["Prompter", "Terminal", "is_interactive", "register_display"]

logger = logging.getLogger(__name__)

_STOP_SECONDS = 5.0  # the thread notices at once; nobody is to hang if it cannot


class _Question:
    """A wait that is asked here, and its end once it is known."""

    def __init__(self, wait: WaitRecord) -> None:
        self.wait = wait
        self.end: WaitRecord | None = None

    def is_about(self, wait: WaitRecord) -> bool:
        return (self.wait.exec_id, self.wait.position) == (wait.exec_id, wait.position)

    def is_over(self) -> bool:
        return self.end is not None


class Prompter:
    """Asks questions in the terminal.

    Args:
        resolve: Gives an answer to the store. What it raises as a `KitaruError` is told to the person.
        streams: Where to ask; the process's own terminal, if not given.
    """

    def __init__(
        self,
        resolve: Callable[[WaitRecord, Resolution], None],
        *,
        streams: Terminal | None = None,
    ) -> None:
        self._resolve = resolve
        self._terminal = Terminal() if streams is None else streams
        self._lock = threading.Lock()
        self._queue: deque[_Question] = deque()
        self._current: _Question | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False

    def asked(self, wait: WaitRecord) -> None:
        """Ask a question when its turn comes; returns at once."""
        with self._lock:
            if self._stopped:
                return
            self._queue.append(_Question(wait))
            # A forked child has the attributes of its parent's thread, but not the thread.
            if self._thread is None or not self._thread.is_alive():
                # A context of its own: what is printed here is no output of the flow that asks.
                context = contextvars.Context()
                self._thread = threading.Thread(
                    target=context.run, args=(self._work,), name="kitaru-prompt", daemon=True
                )
                self._thread.start()

    def closed(self, wait: WaitRecord) -> None:
        """Take a question back; returns at once.

        Args:
            wait: Its row by now, whose status says why. If that is still `open`, whoever asked has left.
        """
        with self._lock:
            for question in [question for question in self._queue if question.is_about(wait)]:
                self._queue.remove(question)
            current = self._current
            if current is None or current.is_over() or not current.is_about(wait):
                return
            current.end = wait
        self._terminal.interrupt()

    def stop(self) -> None:
        """Take all questions back, ask no more, and return when the terminal is free."""
        with self._lock:
            self._stopped = True
            self._queue.clear()
            thread, current = self._thread, self._current
            if current is not None and current.end is None:
                current.end = replace(current.wait, status=WaitStatus.OPEN)
        self._terminal.interrupt()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        while (question := self._next()) is not None:
            try:
                with self._terminal.session(question.is_over):
                    self._treat(question)
            except EndOfInput:
                logger.debug("the terminal has gone")
            except Exception:
                # The question stays open and can be answered elsewhere; the next one may fare better.
                logger.exception("the prompt for wait %r failed", question.wait.wait_id)

    def _next(self) -> _Question | None:
        with self._lock:
            self._current = self._queue.popleft() if self._queue else None
            if self._current is None:
                self._thread = None
            return self._current

    def _treat(self, question: _Question) -> None:
        talk, wait = self._terminal, question.wait
        if question.is_over():  # while another prompter had the terminal
            return
        try:
            introduce(wait, talk)
            while not self._give(wait, self._ask(wait)):
                pass
        except Interrupted:
            if question.end is not None:
                talk.say(conclude(question.end))
        except (Skipped, EndOfInput):
            talk.say(
                f"  {wait.wait_id} stays open. Answer it later with:\n    {how_to_answer(wait)}"
            )

    def _ask(self, wait: WaitRecord) -> Resolution:
        via = f"prompt (pid {os.getpid()})"
        try:
            answer = compose(wait, self._terminal)
        except Aborted:
            return Resolution(status=WaitStatus.ABORTED, answer=None, by=current_user(), via=via)
        return Resolution(status=WaitStatus.ANSWERED, answer=answer, by=current_user(), via=via)

    def _give(self, wait: WaitRecord, resolution: Resolution) -> bool:
        """Hand an answer in; whether that is the end of the question."""
        try:
            self._resolve(wait, resolution)
        except (KitaruStateError, KitaruNotFoundError) as error:  # someone was faster
            self._terminal.say(f"  ! {error.message}")
        except KitaruError as error:
            self._terminal.say(f"  ! the answer could not be recorded: {error.message}")
            return False
        return True
