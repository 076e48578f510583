"""Questions that executions ask: finding them, and answering them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal

from kitaru import schemas
from kitaru.client.connection import Connection
from kitaru.client.models import PendingWait
from kitaru.client.reading import pending_wait_of
from kitaru.clock import Clock, present_clock, to_datetime
from kitaru.errors import KitaruStateError, KitaruUsageError
from kitaru.faults import fault
from kitaru.ids import current_user
from kitaru.model import ExecutionRecord, Resolution, WaitKind, WaitRecord, WaitStatus

UserValue = Any
WaitList = list[PendingWait]

_PAGE = 500
_ENDED = {
    WaitStatus.ANSWERED: "was answered",
    WaitStatus.ABORTED: "was aborted",
    WaitStatus.EXPIRED: "has expired",
    WaitStatus.CLOSED: "was closed",
}


class Waits:
    """`client.waits`: the questions of all executions of a project."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, status: Literal["open"] = "open") -> WaitList:
        """Return the open questions of the project's executions, oldest first.

        Args:
            status: Only `open` ones can be listed; `Execution.waits` has those that are over.

        Raises:
            KitaruUsageError: Another status is asked for.
        """
        if status != "open":
            message = (
                f"expected `status` to be 'open', got: {status!r}. `Execution.waits` has all waits."
            )
            raise KitaruUsageError(message)
        return list(self._open())

    def count(self, *, at_most: int | None = None) -> int:
        """Return how many questions of the project's executions are open; counting stops at `at_most`."""
        return sum(1 for _ in islice(self._records(), at_most))

    def _open(self) -> Iterator[PendingWait]:
        store = self._connection.store
        flows: dict[str, str] = {}
        for wait in self._records():
            if wait.exec_id not in flows:
                flows[wait.exec_id] = store.get_execution(wait.exec_id).flow
            yield pending_wait_of(wait, flows[wait.exec_id])

    def _records(self) -> Iterator[WaitRecord]:
        store, project = self._connection.store, self._connection.settings.project
        after: tuple[int, str, str] | None = None
        while page := store.list_open_waits(project, limit=_PAGE, after=after):
            yield from page
            last = page[-1]
            after = (last.created_at, last.exec_id, last.position)


class Answering:
    """Answers the questions of executions.

    Args:
        connection: Where they are.
        clock: The time.
    """

    def __init__(self, connection: Connection, *, clock: Clock | None = None) -> None:
        self._connection = connection
        self._clock = clock

    def pending(self, execution: ExecutionRecord) -> WaitList:
        """Return an execution's open questions, oldest first."""
        return [pending_wait_of(wait, execution.flow) for wait in self._open(execution.id)]

    def answer(self, exec_id: str, selector: str, value: UserValue, *, via: str) -> WaitRecord:
        """Answer an open question.

        Durability: one transaction; the answer counts from then on, whoever goes on with the execution.

        Raises:
            KitaruWaitValidationError: The answer does not fit the question's schema; it stays open.
            KitaruStateError: There is no such open question, several go by the name, or someone was faster.
            KitaruUsageError: The answer is no JSON value.
        """
        wait = self._find(exec_id, selector)
        answer = schemas.to_json(value)
        schemas.check_answer(wait.schema, answer, wait=wait.wait_id, exec_id=exec_id)
        return self._resolve(wait, WaitStatus.ANSWERED, answer, via)

    def abort(self, exec_id: str, selector: str, *, via: str) -> WaitRecord:
        """Abort an open question: the flow gets `KitaruWaitAbortedError`.

        Raises:
            KitaruStateError: There is no such open question, several go by the name, or someone was faster.
        """
        return self._resolve(self._find(exec_id, selector), WaitStatus.ABORTED, None, via)

    def _resolve(
        self, wait: WaitRecord, status: WaitStatus, answer: str | None, via: str
    ) -> WaitRecord:
        # Whoever asks through a server has no process here.
        by = self._connection.asker
        resolution = Resolution(
            status=status,
            answer=answer,
            by=by or current_user(),
            via=via if by else f"{via} (pid {os.getpid()})",
        )
        clock = self._clock or present_clock(self._connection.store.clock)
        fault("answer.before_commit")
        resolved = self._connection.store.resolve_wait(
            wait.exec_id, wait.position, resolution, now=clock.now()
        )
        fault("answer.after_commit")
        self._connection.neighbours.answered(wait.exec_id)
        return resolved

    def _open(self, exec_id: str) -> list[WaitRecord]:
        return [wait for wait in self._connection.store.list_waits(exec_id) if _is_open(wait)]

    def _find(self, exec_id: str, selector: str) -> WaitRecord:
        if not isinstance(selector, str) or not selector:  # pyright: ignore[reportUnnecessaryIsInstance] - from user code
            message = f"expected `wait` to be the name or the id of a wait, got: {selector!r}"
            raise KitaruUsageError(message)
        # Positions always work, also among many; nothing else needs to be read for them.
        at = self._connection.store.list_waits(exec_id, positions=[selector])
        if at and _is_open(at[0]):
            return at[0]
        waits = [
            wait
            for wait in self._connection.store.list_waits(exec_id)
            if wait.kind is WaitKind.INPUT
        ]
        found = [wait for wait in waits if wait.status is WaitStatus.OPEN]
        # A name that was used twice is also the id of the first of the two, which may be meant or not.
        exact = [wait for wait in found if selector in (wait.wait_id, wait.name)]
        if len(exact) == 1:
            return exact[0]
        if exact:
            raise KitaruStateError(_several(exec_id, selector, exact))
        raise KitaruStateError(self._why_none(exec_id, selector, waits, found))

    def _why_none(
        self,
        exec_id: str,
        selector: str,
        waits: Sequence[WaitRecord],
        found: Sequence[WaitRecord],
    ) -> str:
        """Return why there is nothing to answer, although these waits are open or were."""
        closed = [wait for wait in waits if selector in (wait.wait_id, wait.name, wait.position)]
        if closed:
            wait = closed[-1]
            return (
                f"wait {wait.wait_id!r} of execution {exec_id!r} {_ended(wait)}; a wait is answered"
                f" once."
            )
        if found:
            names = ", ".join(repr(wait.wait_id) for wait in found)
            return f"execution {exec_id!r} has no open wait {selector!r}. It waits for: {names}."
        status = self._connection.store.get_execution(exec_id).status.value
        return (
            f"execution {exec_id!r} is {status} and has no open wait {selector!r}, nor any other."
        )


def _is_open(wait: WaitRecord) -> bool:
    return wait.kind is WaitKind.INPUT and wait.status is WaitStatus.OPEN


def _ended(wait: WaitRecord) -> str:
    by = f" by {wait.resolved_by}" if wait.resolved_by else ""
    via = f" via {wait.resolved_via!r}" if wait.resolved_via else ""
    at = f" at {to_datetime(wait.resolved_at):%Y-%m-%d %H:%M:%S} UTC" if wait.resolved_at else ""
    why = ", because its flow has ended or asks no more" if wait.status is WaitStatus.CLOSED else ""
    return f"{_ENDED[wait.status]}{by}{via}{at}{why}"


def _several(exec_id: str, selector: str, found: Sequence[WaitRecord]) -> str:
    candidates = ", ".join(
        f"{wait.wait_id!r}" + (f" ({wait.question})" if wait.question else "") for wait in found
    )
    return (
        f"{selector!r} means {len(found)} open waits of execution {exec_id!r}: {candidates}. Give the"
        f" position of the one that you mean: {', '.join(repr(wait.position) for wait in found)}."
    )


def parse_answer(text: str) -> UserValue:
    """Return an answer that was typed as JSON.

    Raises:
        KitaruUsageError: It is no JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        quoted = json.dumps(text)
        message = (
            f"expected the answer to be JSON, got: {text!r}. Text goes in double quotes: '{quoted}'"
        )
        raise KitaruUsageError(message) from error
