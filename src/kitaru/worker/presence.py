"""Which workers are there for an execution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitaru.engine.owner import Owner

if TYPE_CHECKING:
    from kitaru.fleet import WorkerRecord
    from kitaru.model import ExecutionRecord
    from kitaru.store.contract import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentWorker:
    """A worker that is alive, as far as can be known from here.

    Attributes:
        pid: Its number on its machine; None if it is no process of Kitaru's own.
        record: What it has announced.
    """

    pid: int | None
    record: WorkerRecord


def list_present(store: Store, *, now: int) -> list[PresentWorker]:
    """Return the workers of a store that are alive, the oldest first."""
    found: list[PresentWorker] = []
    for record in store.list_workers():
        owner = Owner.parse(record.owner)
        if record.is_heard(now=now) and not (owner is not None and owner.is_dead()):
            found.append(PresentWorker(pid=None if owner is None else owner.pid, record=record))
    return found


def find_workers(store: Store, execution: ExecutionRecord, *, now: int) -> list[PresentWorker]:
    """Return the workers that take an execution up as soon as they have room for it."""
    return [one for one in list_present(store, now=now) if one.record.serves(execution)]
