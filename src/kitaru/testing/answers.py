"""Answers that a test gives to the questions of its flows."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from kitaru.errors import KitaruError, KitaruStateError, KitaruUsageError
from kitaru.model import WaitKind, WaitRecord, WaitStatus
from kitaru.settings_rules import did_you_mean

if TYPE_CHECKING:
    from kitaru.client import KitaruClient
    from kitaru.client.models import PendingWait
    from kitaru.store.contract import Store

UserValue = Any
_VIA = "run_flow"


class _Sign(enum.Enum):
    """What a test may say in place of an answer."""

    ABORT = "abort"
    EXPIRE = "expire"

    def __repr__(self) -> str:
        return f"kitaru.testing.{self.name}"


ABORT = _Sign.ABORT
"""In `waits=`: the wait is aborted, as `kitaru executions input --abort` does it."""
EXPIRE = _Sign.EXPIRE
"""In `waits=`: nobody answers, and the wait expires."""


class Answers:
    """What `run_flow` was given as `waits=`.

    Args:
        given: By a wait's id or name: a value, a list with one for each asking, or a function of the
            question.

    Attributes:
        error: Why a question could not be answered; whoever waits for the flow raises it.
    """

    def __init__(self, given: Mapping[str, UserValue] | None) -> None:
        if given is not None and not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - from user code
            message = (
                f"expected `waits` to be a dict of answers by the waits' names, got: {given!r}"
            )
            raise KitaruUsageError(message)
        self._given = dict(given or {})
        self._lock = threading.Lock()
        self._refused: dict[str, int] = {}
        self.error: BaseException | None = None

    def give(self, client: KitaruClient, store: Store, wait: WaitRecord) -> None:
        """Answer an open question if there is an answer to it; never raises."""
        if self.error is not None or self.find_key(wait) is None:
            return
        try:
            with self._lock:
                self._give(client, store, wait)
        except BaseException as error:  # noqa: BLE001 - raised to whoever waits for the flow
            self.error = error

    def find_key(self, wait: WaitRecord) -> str | None:
        """Return under which key there is something for a question: its id rather than its name."""
        for key in (wait.wait_id, wait.position, wait.name):
            if key in self._given:
                return key
        return None

    def _give(self, client: KitaruClient, store: Store, asked: WaitRecord) -> None:
        # As it is now: the flow and whoever waits for it may both have come here with it.
        [wait] = store.list_waits(asked.exec_id, positions=[asked.position])
        if wait.kind is not WaitKind.INPUT or wait.status is not WaitStatus.OPEN:
            return
        execution = client.executions.get(wait.exec_id)
        question = next(each for each in execution.waits if each.wait_id == wait.wait_id)
        answer = self._answer_to(store, wait, question)
        if answer is EXPIRE:
            if wait.wake_at is None:
                message = f"{_told(question)} was to expire, but has no `expires`."
                raise KitaruUsageError(message)
            return
        try:
            if answer is ABORT:
                client.executions.abort_wait(wait.exec_id, wait=wait.position, via=_VIA)
            else:
                client.executions.input(wait.exec_id, wait=wait.position, value=answer, via=_VIA)
        except KitaruStateError:
            # Someone was faster: the flow has stopped waiting, or its time is over.
            if store.list_waits(wait.exec_id, positions=[wait.position])[0].status is wait.status:
                raise

    def _answer_to(self, store: Store, wait: WaitRecord, question: PendingWait) -> UserValue:
        key = self.find_key(wait)
        assert key is not None  # noqa: S101 - `give` has looked
        given = self._given[key]
        if wait.problem is not None:
            self._refused[wait.position] = self._refused.get(wait.position, 0) + 1
        if isinstance(given, list):
            answers = cast("list[UserValue]", given)
            number = self._number(store, key, wait)
            if number >= len(answers):
                problem = (
                    "" if wait.problem is None else f" The last one was refused: {wait.problem}"
                )
                message = (
                    f"{_told(question)} asks for the {number + 1}. time, and"
                    f" `waits={{{key!r}: [...]}}` has {len(answers)} answers.{problem}"
                )
                raise KitaruUsageError(message)
            return answers[number]
        if callable(given):
            return cast("Callable[[PendingWait], UserValue]", given)(question)
        if wait.problem is not None:
            message = (
                f"{_told(question)} refused the answer {given!r}: {wait.problem}"
                f" A list in `waits=` has an answer for each asking."
            )
            raise KitaruUsageError(message)
        return given

    def _number(self, store: Store, key: str, wait: WaitRecord) -> int:
        """Return how many answers under this key have been used, also by processes before this one."""
        over = [
            each
            for each in store.list_waits(wait.exec_id)
            if each.kind is WaitKind.INPUT
            and each.status is not WaitStatus.OPEN
            and self.find_key(each) == key
        ]
        return len(over) + self._refused.get(wait.position, 0)

    def missing(self, wait: WaitRecord, question: PendingWait) -> KitaruError:
        """Return the error for a question that nobody answers."""
        from kitaru.schemas import describe

        hint = did_you_mean(wait.name, tuple(self._given))
        message = (
            f"{_told(question)} waits for an answer and `run_flow` has none."
            f" It takes {describe(wait.schema)}.{hint}\n"
            f"Give it: run_flow(..., waits={{{wait.name!r}: ...}}) with a value, a list with one for each"
            f" asking, a function of the question, or `kitaru.testing.ABORT`; or let the wait expire:"
            f" kitaru.wait(..., expires=...)."
        )
        return KitaruUsageError(message)


def _told(question: PendingWait) -> str:
    text = f" ({question.question!r})" if question.question else ""
    return f"wait {question.wait_id!r}{text} of flow {question.flow_name!r}"
