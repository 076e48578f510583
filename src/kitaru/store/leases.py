"""Deciding who runs what: claim, renew, reap.

`claim_executions` and the insertion of an execution that is created as claimed are the only statements
that write `running`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kitaru.model import Claim, ExecutionRecord, HeldLease
from kitaru.store.database import Session
from kitaru.store.execution_rows import execution_from_row
from kitaru.store.waits import end_waits


def is_anything_claimable(session: Session, now: int) -> bool:
    """Return whether a claim may win something, without asking for the right to write."""
    return session.row("is_anything_claimable", now) is not None


def claim_executions(
    session: Session, claim: Claim, now: int, limit: int, exec_ids: Sequence[str] | None
) -> list[ExecutionRecord]:
    """Take pending executions whose time has come, oldest first."""
    rows = session.rows(
        "claim_executions", claim.owner, claim.lease_expires_at, now, _json(exec_ids), limit
    )
    # RETURNING promises no order.
    return sorted(map(execution_from_row, rows), key=lambda won: (won.runnable_at, won.id))


def renew_leases(
    session: Session, owner: str, leases: Sequence[tuple[str, int]], lease_expires_at: int
) -> list[HeldLease]:
    """Push the expiry of the leases that this owner still has."""
    rows = session.rows("renew_leases", lease_expires_at, owner, _json(leases))
    return [
        HeldLease(exec_id, epoch, cancel_requested_at is not None)
        for exec_id, epoch, cancel_requested_at in rows
    ]


def list_running(session: Session) -> list[ExecutionRecord]:
    """Return every running execution, oldest first."""
    return [execution_from_row(row) for row in session.rows("list_running")]


def list_unfinished(session: Session, limit: int) -> list[ExecutionRecord]:
    """Return executions of any project that are not over, oldest first."""
    return [execution_from_row(row) for row in session.rows("list_unfinished", limit)]


def find_pending_ids(
    session: Session, now: int, limit: int, exec_ids: Sequence[str] | None
) -> list[str]:
    """Return what a claim would win now, the longest due first."""
    rows = session.rows("find_pending_ids", now, _json(exec_ids), limit)
    return [exec_id for (exec_id,) in rows]


def is_anything_reapable(session: Session, now: int) -> bool:
    """Return whether a lease has expired, without asking for the right to write."""
    return session.row("is_anything_reapable", now) is not None


def reap(
    session: Session, now: int, dead_owners: Sequence[str], exec_ids: Sequence[str] | None
) -> list[ExecutionRecord]:
    """Take back executions whose runner is lost."""
    rows = session.rows("reap_executions", now, _json(dead_owners), _json(exec_ids))
    reaped = list(map(execution_from_row, rows))
    end_waits(session, [execution.id for execution in reaped if execution.status.is_finished])
    return sorted(reaped, key=lambda execution: (execution.created_at, execution.id))


def _json(words: Sequence[object] | None) -> str | None:
    return None if words is None else msgspec.json.encode(list(words)).decode()
