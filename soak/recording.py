"""Copies what the record says of executions into the soak's books, before it is pruned."""

from __future__ import annotations

from typing import Any

from kitaru.blobs import open_blobs
from kitaru.engine.values import Values
from kitaru.model import ExecutionFilter, ExecutionRecord, ExecutionStatus, WaitKind
from kitaru.settings import Settings
from kitaru.store import open_store
from soak.book import FACTS, Book
from soak.expecting import digest_of

_FINISHED = (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)
_MOST = 100_000


class Recorder:
    """Notes each finished execution once, and knows which ones may be pruned.

    Args:
        settings: Which store.
        book: Where facts go.
    """

    def __init__(self, settings: Settings, book: Book) -> None:
        self.store = open_store(settings.store_url)
        self._values = Values(open_blobs(settings.artifact_store))
        self._project = settings.project
        self._book = book
        self._noted: set[str] = set()

    def note_finished(self) -> list[ExecutionRecord]:
        """Note what has finished since; return everything finished that is still in the store."""
        found: list[ExecutionRecord] = []
        for status in _FINISHED:
            where = ExecutionFilter(project=self._project, status=status)
            found += self.store.list_executions(where, limit=_MOST)
        for execution in found:
            if execution.id not in self._noted:
                self._note(execution)
        self._noted = {execution.id for execution in found}  # what was pruned does not come again
        return found

    def note_unfinished(self) -> list[ExecutionRecord]:
        """Note what has not finished, at the end; return it."""
        found = self.store.list_unfinished(limit=_MOST)
        for execution in found:
            self._note(execution)
        return found

    def _note(self, execution: ExecutionRecord) -> None:
        result = execution.result
        self._book.add(
            FACTS,
            exec_id=execution.id,
            flow=execution.flow,
            key=execution.idempotency_key,
            parent_id=execution.parent_id,
            status=execution.status.value,
            reason=execution.status_reason,
            failure=None if execution.failure is None else execution.failure.exception_type,
            epoch=execution.epoch,
            recoveries=execution.recoveries,
            created_at=execution.created_at,
            ended_at=execution.ended_at,
            inputs=self._values.load(execution.inputs),
            result=None if result is None else digest_of(self._values.load(result)),
            calls=self._calls(execution.id),
            waits=self._waits(execution.id),
        )

    def _calls(self, exec_id: str) -> list[dict[str, Any]]:
        attempts: dict[str, list[dict[str, int]]] = {}
        for tried in self.store.list_attempts(exec_id):
            entry = {"number": tried.number, "ended_at": tried.ended_at}
            attempts.setdefault(tried.position, []).append(entry)
        return [
            {
                "position": call.position,
                "kind": call.kind.value,
                "status": call.status.value,
                "epoch": call.epoch,
                "ended_at": call.ended_at,
                "attempts": attempts.get(call.position, []),
            }
            for call in self.store.list_calls(exec_id)
        ]

    def _waits(self, exec_id: str) -> list[dict[str, Any]]:
        return [
            {"wait_id": wait.wait_id, "status": wait.status.value, "answer": wait.answer}
            for wait in self.store.list_waits(exec_id)
            if wait.kind is WaitKind.INPUT
        ]
