"""Where the questions of this process's runs go: to the person at the terminal, or to a note on stderr."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from kitaru.model import WaitKind

if TYPE_CHECKING:
    from kitaru.clock import Clock
    from kitaru.engine.run import Run
    from kitaru.model import Resolution, WaitRecord
    from kitaru.store.contract import Store
    from kitaru.worker.prompt import Prompter


Respondent = Callable[["WaitRecord"], None]


class Desk:
    """Puts questions to whoever is there.

    Args:
        store: Where answers given here go.
        clock: The time.

    Attributes:
        respondent: A program that is asked in place of people; must not raise.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._prompter: Prompter | None = None
        self.respondent: Respondent | None = None

    def asked(self, run: Run, wait: WaitRecord) -> None:
        """Ask in the terminal if someone is there; else say how to answer."""
        if wait.kind is not WaitKind.INPUT:
            return
        if self.respondent is not None:
            contextvars.Context().run(self.respondent, wait)
            return
        prompter = self._find_prompter()
        if prompter is not None:
            prompter.asked(wait)
        else:
            # In a context of its own: this is no output of the flow that asks.
            contextvars.Context().run(tell, run.execution.flow, wait)

    def closed(self, run: Run, wait: WaitRecord) -> None:
        """Take a question back that is over, or whose run has left."""
        del run
        if self._prompter is not None and wait.kind is WaitKind.INPUT:
            self._prompter.closed(wait)

    def stop(self) -> None:
        """Leave the terminal alone."""
        with self._lock:
            prompter, self._prompter = self._prompter, None
        if prompter is not None:
            prompter.stop()

    def _find_prompter(self) -> Prompter | None:
        from kitaru.worker import prompt

        if not prompt.is_interactive():
            return None
        with self._lock:
            if self._prompter is None:
                self._prompter = prompt.Prompter(self._resolve)
            return self._prompter

    def _resolve(self, wait: WaitRecord, resolution: Resolution) -> None:
        self._store.resolve_wait(wait.exec_id, wait.position, resolution, now=self._clock.now())


def tell(flow: str, wait: WaitRecord) -> None:
    """Say on stderr that a flow waits, and how to answer it."""
    stream = sys.stderr
    if stream is None:
        return
    from kitaru.schemas import describe
    from kitaru.worker.dialogue import how_to_answer
    from kitaru.worker.terminal import one_line

    question = f": {one_line(wait.question)}" if wait.question else ""
    problem = f"\n  an answer was given before: {one_line(wait.problem)}" if wait.problem else ""
    # With its end in one piece: what others print at the same moment must not come in between.
    stream.write(
        f"Kitaru: flow {flow!r} waits for {wait.wait_id!r}{question} ({one_line(describe(wait.schema))})"
        f"{problem}\n"
        f"  answer it: {how_to_answer(wait)}\n"
    )
    stream.flush()
