"""Which processes are there for an execution, as far as can be known from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitaru.clock import MICROSECONDS
from kitaru.engine.owner import Owner, current_owner
from kitaru.fleet import PresentWorker, RunnerFacts

if TYPE_CHECKING:
    from kitaru.model import ExecutionRecord
    from kitaru.store.contract import Store


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


def facts_of_runner(execution: ExecutionRecord, *, now: int) -> RunnerFacts:
    """Return what is known of the process that has claimed a running execution."""
    owner = Owner.parse(execution.lease_owner or "")
    return RunnerFacts(
        pid=None if owner is None else owner.pid,
        is_here=owner is not None and owner.is_on_this_host(),
        lost=why_lost(execution, now=now),
    )


def why_lost(execution: ExecutionRecord, *, now: int) -> str | None:
    """Return why nobody runs a running execution any more, in plain words; None if somebody may."""
    owner = Owner.parse(execution.lease_owner or "")
    if owner is not None and owner.is_dead():
        return f"its process {owner.pid} on this machine is gone"
    expires_at = execution.lease_expires_at or 0
    if expires_at < now:
        seconds = (now - expires_at) / MICROSECONDS
        where = "its runner" if owner is None else f"its process {owner.pid}"
        return f"{where} has been silent; the lease ran out {seconds:.0f} s ago"
    return None


def dead_owner_of(execution: ExecutionRecord) -> list[str]:
    """Return who holds an execution's lease, if it is a process that is certainly gone; else nothing."""
    owner = Owner.parse(execution.lease_owner or "")
    return [str(execution.lease_owner)] if owner is not None and owner.is_dead() else []


def this_process() -> str:
    """Return this process as leases name it."""
    return str(current_owner())
