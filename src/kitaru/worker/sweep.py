"""Answering questions one after the other at the terminal, whichever processes they come from."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kitaru import settings
from kitaru.errors import KitaruError, KitaruNotFoundError, KitaruStateError
from kitaru.ids import current_user
from kitaru.model import Resolution, WaitKind, WaitRecord, WaitStatus
from kitaru.worker.dialogue import Aborted, Skipped, compose, conclude, introduce
from kitaru.worker.local import LocalRunner
from kitaru.worker.runners import local_runner
from kitaru.worker.terminal import EndOfInput, Interrupted, Terminal

_LOOK_SECONDS = 0.3
_PAGE = 500


@dataclass(slots=True)
class SweepResult:
    """What became of the questions of a sweep.

    Attributes:
        answered: The executions that may go on now, each as often as it was answered or aborted.
        skipped: How many were left open.
        over: How many someone else answered first, or had ended meanwhile.
        failed: How many answers could not be recorded.
        stopped: Whether the person left before the last question.
    """

    answered: list[str]
    aborted: int = 0
    skipped: int = 0
    over: int = 0
    failed: int = 0
    stopped: bool = False


def sweep(
    exec_id: str | None = None,
    *,
    terminal: Terminal | None = None,
    then: Callable[[str], None] | None = None,
) -> SweepResult:
    """Ask a person every open question, oldest first, until there are none or the person leaves.

    Args:
        exec_id: Only this execution's; all of the project's if not given.
        terminal: Where to ask; the process's own, if not given.
        then: Called with an execution's id after each answer.
    """
    runner = local_runner(settings.current())
    talk = terminal or Terminal()
    result = SweepResult([])
    for wait in _open_waits(runner, exec_id):
        try:
            done = _ask(runner, talk, wait, result)
        except EndOfInput:
            result.stopped = True
            break
        if done and then is not None:
            then(wait.exec_id)
    return result


def _open_waits(runner: LocalRunner, exec_id: str | None) -> Sequence[WaitRecord]:
    if exec_id is not None:
        return [
            wait
            for wait in runner.store.list_waits(exec_id)
            if wait.kind is WaitKind.INPUT and wait.status is WaitStatus.OPEN
        ]
    return runner.store.list_open_waits(runner.settings.project, limit=_PAGE)


def _ask(runner: LocalRunner, talk: Terminal, wait: WaitRecord, result: SweepResult) -> bool:
    """Ask one question; return whether its execution may go on because of it."""
    looking = _Looking(runner, talk, wait)
    with looking, talk.session(lambda: looking.end is not None):
        try:
            introduce(wait, talk)
            status, answer = WaitStatus.ANSWERED, compose(wait, talk)
        except Aborted:
            status, answer = WaitStatus.ABORTED, None
        except Skipped:
            result.skipped += 1
            return False
        except Interrupted:
            result.over += 1
            talk.say(conclude(looking.end or wait))
            return False
        return _resolve(runner, talk, wait, result, status, answer)


def _resolve(
    runner: LocalRunner,
    talk: Terminal,
    wait: WaitRecord,
    result: SweepResult,
    status: WaitStatus,
    answer: str | None,
) -> bool:
    resolution = Resolution(
        status=status, answer=answer, by=current_user(), via=f"cli (pid {os.getpid()})"
    )
    now = runner.services.clock.now()
    try:
        runner.store.resolve_wait(wait.exec_id, wait.position, resolution, now=now)
    except (KitaruStateError, KitaruNotFoundError) as error:
        result.over += 1
        talk.say(f"  ! {error.message}")
        return False
    except KitaruError as error:
        result.failed += 1
        talk.say(f"  ! the answer could not be recorded: {error.message}")
        return False
    result.answered.append(wait.exec_id)
    result.aborted += status is WaitStatus.ABORTED
    return True


class _Looking:
    """Looks meanwhile whether someone else answers, and takes the question back then."""

    def __init__(self, runner: LocalRunner, talk: Terminal, wait: WaitRecord) -> None:
        self._runner = runner
        self._talk = talk
        self._wait = wait
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="kitaru-sweep", daemon=True)
        self.end: WaitRecord | None = None

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(_LOOK_SECONDS):
            try:
                found = self._runner.store.list_waits(
                    self._wait.exec_id, positions=[self._wait.position]
                )
            except KitaruError:
                continue
            if not found or found[0].status is not WaitStatus.OPEN:
                self.end = found[0] if found else self._wait
                self._talk.interrupt()
                return
