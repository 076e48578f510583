"""Answering questions one after the other at the terminal, whichever processes they come from."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kitaru import settings
from kitaru.clock import to_datetime
from kitaru.errors import KitaruError, KitaruNotFoundError, KitaruStateError
from kitaru.ids import current_user
from kitaru.model import Resolution, WaitKind, WaitRecord, WaitStatus
from kitaru.worker.dialogue import Aborted, Skipped, compose, conclude, introduce
from kitaru.worker.local import LocalRunner
from kitaru.worker.runners import local_runner
from kitaru.worker.terminal import EndOfInput, Interrupted, Terminal, one_line

_LOOK_SECONDS = 0.3
_PAGE = 500


@dataclass(slots=True)
class SweepResult:
    """What became of the questions of a sweep.

    Attributes:
        answered: How many were answered.
        aborted: How many were aborted.
        skipped: How many were left open.
        over: How many someone else answered first, or had ended meanwhile.
        failed: How many answers could not be recorded.
        stopped: Whether the person left before the last question.
    """

    answered: int = 0
    aborted: int = 0
    skipped: int = 0
    over: int = 0
    failed: int = 0
    stopped: bool = False

    @property
    def found(self) -> int:
        """How many questions were asked."""
        return self.answered + self.aborted + self.skipped + self.over + self.failed


class _Left(Exception):  # noqa: N818 - a way to leave
    """The person leaves this question and those to come."""


class _Talk:
    """A person who may leave at any question.

    Args:
        terminal: Where they sit.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.say = terminal.say
        self._terminal = terminal

    def ask(self, prompt: str) -> str:
        """Show a prompt and return the line that is typed."""
        line = self._terminal.ask(prompt)
        if line.strip() == ":quit":
            raise _Left
        return line


def sweep(
    exec_id: str | None = None,
    *,
    terminal: Terminal | None = None,
    then: Callable[[str], object] | None = None,
) -> SweepResult:
    """Ask a person every open question, oldest first, until there are none or the person leaves.

    Args:
        exec_id: Only this execution's; all of the project's if not given.
        terminal: Where to ask; the process's own, if not given.
        then: Called with an execution's id after each answer, so that it goes on.
    """
    runner = local_runner(settings.current())
    screen = terminal or Terminal()
    result = SweepResult()
    try:
        for wait in _open_waits(runner, exec_id):
            if _ask(runner, screen, wait, result) and then is not None:
                then(wait.exec_id)
    except (_Left, EndOfInput):  # or the terminal has gone
        result.stopped = True
    return result


def _open_waits(runner: LocalRunner, exec_id: str | None) -> Iterator[WaitRecord]:
    if exec_id is not None:
        for wait in runner.store.list_waits(exec_id):
            if wait.kind is WaitKind.INPUT and wait.status is WaitStatus.OPEN:
                yield wait
        return
    after: tuple[int, str, str] | None = None
    project = runner.settings.project
    # What flows ask meanwhile, because they go on with an answer, is newer and comes last.
    while page := runner.store.list_open_waits(project, limit=_PAGE, after=after):
        yield from page
        after = (page[-1].created_at, page[-1].exec_id, page[-1].position)


def _ask(runner: LocalRunner, screen: Terminal, wait: WaitRecord, result: SweepResult) -> bool:
    """Ask one question; return whether its execution may go on because of it."""
    looking = _Looking(runner, screen, wait)
    with looking, screen.session(lambda: looking.end is not None):
        introduce(wait, screen)
        for line in _about(runner, wait):
            screen.say(f"  {line}")
        try:
            status, answer = WaitStatus.ANSWERED, compose(wait, _Talk(screen))
        except Aborted:
            status, answer = WaitStatus.ABORTED, None
        except (Skipped, EndOfInput):
            result.skipped += 1
            return False
        except Interrupted:
            result.over += 1
            screen.say(conclude(looking.end or wait))
            return False
        return _resolve(runner, screen, wait, result, status, answer)


def _about(runner: LocalRunner, wait: WaitRecord) -> Iterator[str]:
    """Return what else there is to know of a question, and how to leave."""
    flow = runner.store.get_execution(wait.exec_id).flow
    since = f"{to_datetime(wait.created_at):%Y-%m-%d %H:%M:%S} UTC"
    expires = (
        ""
        if wait.wake_at is None
        else f", expires {to_datetime(wait.wake_at):%Y-%m-%d %H:%M:%S} UTC"
    )
    yield f"Asked by flow {one_line(flow)!r} since {since}{expires}"
    yield "(:quit to leave the rest)"


def _resolve(
    runner: LocalRunner,
    screen: Terminal,
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
        screen.say(f"  ! {error.message}")
        return False
    except KitaruError as error:
        result.failed += 1
        screen.say(f"  ! the answer could not be recorded: {error.message}")
        return False
    if status is WaitStatus.ABORTED:
        result.aborted += 1
    else:
        result.answered += 1
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
