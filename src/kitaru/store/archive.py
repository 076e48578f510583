"""Bringing in what another store has exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kitaru.errors import KitaruStateError
from kitaru.model import Bundle, ExecutionRecord, JournalEntry, WaitStatus
from kitaru.store.database import Session
from kitaru.store.execution_rows import record_to_row
from kitaru.store.executions import find_execution, find_holder_of_key
from kitaru.store.journal import restore
from kitaru.store.logs import append_logs
from kitaru.transitions import refuse


def import_executions(session: Session, bundles: Sequence[Bundle]) -> None:
    """Add finished executions with everything that belongs to them."""
    brought = {bundle.execution.id for bundle in bundles}
    for bundle in bundles:
        execution = bundle.execution
        _check(session, bundle)
        session.run("import_execution", *record_to_row(_fitted(session, execution, brought)))
    restore(session, [_journal(bundle) for bundle in bundles])
    for bundle in bundles:
        append_logs(session, bundle.logs)


def _check(session: Session, bundle: Bundle) -> None:
    execution = bundle.execution
    if not execution.status.is_finished:
        refuse("imported", execution.id, execution.status, "finished")
    still_open = [wait.wait_id for wait in bundle.waits if wait.status is WaitStatus.OPEN]
    if still_open:
        message = (
            f"execution {execution.id!r} cannot be imported: it has finished, but its wait"
            f" {still_open[0]!r} is open. Export it again."
        )
        raise KitaruStateError(message)
    if find_execution(session, execution.id) is not None:
        message = (
            f"execution {execution.id!r} cannot be imported: it is here already. Leave it out, or delete"
            f" the one that is here with `kitaru executions delete {execution.id}`."
        )
        raise KitaruStateError(message)


def _fitted(session: Session, execution: ExecutionRecord, brought: set[str]) -> ExecutionRecord:
    """Return an execution without the ties that this store has no place for."""
    parent_id, key = execution.parent_id, execution.idempotency_key
    if (
        parent_id is not None
        and parent_id not in brought
        and find_execution(session, parent_id) is None
    ):
        execution = replace(execution, parent_id=None, parent_position=None)
    if key is not None and find_holder_of_key(session, execution.project, execution.flow, key):
        execution = replace(execution, idempotency_key=None)
    return execution


def _journal(bundle: Bundle) -> JournalEntry:
    return JournalEntry(
        exec_id=bundle.execution.id,
        epoch=bundle.execution.epoch,
        calls=bundle.calls,
        attempts=bundle.attempts,
        artifacts=bundle.artifacts,
        metadata=bundle.metadata,
        waits=bundle.waits,
        events=bundle.events,
    )
