"""Deciding who runs what: claim, renew, reap.

`claim_executions` and the insertion of an execution that is created as claimed are the only statements
that write `running`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kitaru.fleet import ClaimFilter
from kitaru.model import Claim, ExecutionRecord, HeldLease
from kitaru.store.database import Session
from kitaru.store.execution_rows import execution_from_row
from kitaru.store.queries import Row
from kitaru.store.waits import end_waits


def is_anything_claimable(session: Session, now: int, where: ClaimFilter) -> bool:
    """Return whether a claim may win something, without asking for the right to write."""
    return session.row("is_anything_claimable", now, *_filter_columns(where)) is not None


def claim_executions(
    session: Session, claim: Claim, now: int, limit: int, where: ClaimFilter
) -> list[ExecutionRecord]:
    """Take pending executions that nobody holds and whose time has come, oldest first."""
    return _won(
        session.rows(
            "claim_executions",
            claim.owner,
            claim.lease_expires_at,
            now,
            *_filter_columns(where),
            limit,
        )
    )


def claim_by_id(
    session: Session, claim: Claim, now: int, limit: int, exec_ids: Sequence[str]
) -> list[ExecutionRecord]:
    """Take those of these executions that are pending, also held ones and those whose time has not come."""
    return _won(
        session.rows(
            "claim_by_id", claim.owner, claim.lease_expires_at, now, _json(exec_ids), limit
        )
    )


def _won(rows: Sequence[Row]) -> list[ExecutionRecord]:
    # RETURNING promises no order.
    return sorted(map(execution_from_row, rows), key=lambda won: (won.runnable_at, won.id))


def _filter_columns(where: ClaimFilter) -> Row:
    return where.project, where.stack, _json(where.code_keys), _json(where.besides)


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
    if exec_ids is None:
        rows = session.rows("find_pending_ids", now, limit)
    else:
        rows = session.rows("find_pending_by_id", now, _json(exec_ids), limit)
    return [exec_id for (exec_id,) in rows]


def is_anything_reapable(session: Session, now: int) -> bool:
    """Return whether a lease has expired, without asking for the right to write."""
    return session.row("is_anything_reapable", now) is not None


def list_lease_owners(session: Session) -> list[str]:
    """Return who holds leases, each once."""
    return [owner for (owner,) in session.rows("list_lease_owners")]


def reap(
    session: Session,
    now: int,
    expired_before: int,
    dead_owners: Sequence[str],
    exec_ids: Sequence[str] | None,
    spared: Sequence[str],
    limit: int,
) -> list[ExecutionRecord]:
    """Take back executions whose runner is lost."""
    rows = session.rows(
        "reap_executions",
        now,
        expired_before,
        _json(dead_owners),
        _json(exec_ids),
        _json(spared),
        limit,
    )
    reaped = list(map(execution_from_row, rows))
    end_waits(session, [execution.id for execution in reaped if execution.status.is_finished])
    return sorted(reaped, key=lambda execution: (execution.created_at, execution.id))


def _json(words: Sequence[object] | None) -> str | None:
    return None if words is None else msgspec.json.encode(list(words)).decode()
