"""Keeping what executions wait for, and waking them.

The rule that no wake-up is lost. Whoever ends a wait makes its execution `pending` in the same transaction
if it is `waiting`; whoever makes an execution `waiting` looks, in the same transaction, whether what it waits
for is over already. Both lock the execution's row before they look, so that one of the two sees the other.

The other rule is that open waits belong to unfinished executions, and open waits for a child to children
that are not finished: every end of an execution goes through `end_waits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn

import msgspec

from kitaru.errors import KitaruNotFoundError, KitaruStateError, KitaruUsageError
from kitaru.model import Resolution, WaitKind, WaitRecord, WaitStatus
from kitaru.store.database import Session
from kitaru.store.queries import Row
from kitaru.store.wait_rows import wait_from_row, wait_to_row

# Sorts before every key of a page.
_BEFORE_ALL = (-(2**63), "", "")

_RESOLUTIONS = frozenset({WaitStatus.ANSWERED, WaitStatus.ABORTED})


def record_waits(session: Session, exec_id: str, waits: Sequence[WaitRecord]) -> None:
    """Write what an execution waits for, in place of what its positions had."""
    for wait in waits:
        row = wait_to_row(_answered_if_ended(session, wait))
        session.run("record_wait", exec_id, *row[1:])


def _answered_if_ended(session: Session, wait: WaitRecord) -> WaitRecord:
    if wait.kind is not WaitKind.CHILD or wait.status is not WaitStatus.OPEN:
        return wait
    found = session.row("get_end", wait.child_id)
    # One that was deleted had finished; whoever waits is to find out rather than to wait for ever.
    ended_at = wait.created_at if found is None else found[0]
    if ended_at is None:
        return wait
    moment = max(ended_at, wait.created_at)
    return replace(wait, status=WaitStatus.ANSWERED, resolved_at=moment)


def wake_unless_open(session: Session, exec_id: str, positions: Sequence[str]) -> None:
    """Make an execution that was parked just now pending if one of these waits is over."""
    if positions:
        session.run_many("wake_unless_open", [(exec_id, position) for position in positions])


def end_waits(session: Session, exec_ids: Sequence[str]) -> None:
    """Close the open waits of executions that have ended just now, and answer those for their end."""
    concerned = [
        (exec_id,) for exec_id in exec_ids if session.row("has_waits_to_end", exec_id) is not None
    ]
    if not concerned:
        return
    # First what they wait for themselves: of a parent and a child that end together, neither is to wake.
    session.run_many("close_waits", concerned)
    session.lock_executions(
        parent
        for (exec_id,) in concerned
        for (parent,) in session.rows("find_waiting_for", exec_id)
    )
    answered: list[Row] = []
    for (exec_id,) in concerned:
        answered += session.rows("answer_child_waits", exec_id)
    _wake(session, answered)


def reopen_wait(session: Session, exec_id: str, position: str) -> None:
    """Make the wait of a call that was reopened just now open again, if the call has one."""
    wait = _find_wait(session, exec_id, position)
    if wait is None:
        return
    if wait.child_id is not None:
        session.lock_executions([wait.child_id])
    session.run("reopen_wait", exec_id, position)


def list_waits(session: Session, exec_id: str, positions: Sequence[str] | None) -> list[WaitRecord]:
    """Return an execution's waits in the order in which they were asked."""
    return [wait_from_row(row) for row in session.rows("list_waits", exec_id, _json(positions))]


def list_open_waits(
    session: Session, project: str, limit: int, after: tuple[int, str, str] | None
) -> list[WaitRecord]:
    """Return a page of a project's open questions, oldest first."""
    rows = session.rows("list_open_waits", project, *(after or _BEFORE_ALL), limit)
    return [wait_from_row(row) for row in rows]


def resolve_wait(
    session: Session, exec_id: str, position: str, resolution: Resolution, now: int
) -> WaitRecord:
    """Answer or abort an open question, and let its execution go on."""
    status = resolution.status
    if status not in _RESOLUTIONS:
        message = f"expected a wait to be answered or aborted, got status {status.value!r}"
        raise KitaruUsageError(message)
    session.lock_executions([exec_id])
    row = session.row(
        "resolve_wait",
        status.value,
        resolution.answer,
        now,
        resolution.by,
        resolution.via,
        exec_id,
        position,
    )
    if row is None:
        _refuse(session, exec_id, position, status)
    _wake(session, [(now, exec_id)])
    return wait_from_row(row)


def is_anything_due(
    session: Session, now: int, exec_ids: Sequence[str] | None, kind: WaitKind | None
) -> bool:
    """Return whether a wait's moment has come, without asking for the right to write."""
    return session.row("is_anything_due", now, _json(exec_ids), kind and kind.value) is not None


def wake_due(
    session: Session,
    now: int,
    limit: int,
    exec_ids: Sequence[str] | None,
    kind: WaitKind | None,
) -> list[str]:
    """End the waits whose moment has come; return their executions, the most overdue first."""
    word = kind and kind.value
    due = session.rows("find_due_waits", now, _json(exec_ids), word, limit)
    found = {exec_id for (exec_id,) in due}
    session.lock_executions(found)
    # RETURNING promises no order.
    ended = sorted(session.rows("end_due_waits", now, _json(sorted(found)), word, limit))
    concerned = list(dict.fromkeys(exec_id for _, exec_id in ended))
    _wake(session, [(now, exec_id) for exec_id in concerned])
    return concerned


def _wake(session: Session, rows: Sequence[Row]) -> None:
    if rows:
        session.run_many("wake", rows)


def _find_wait(session: Session, exec_id: str, position: str) -> WaitRecord | None:
    row = session.row("find_wait", exec_id, position)
    return None if row is None else wait_from_row(row)


def _refuse(session: Session, exec_id: str, position: str, status: WaitStatus) -> NoReturn:
    wait = _find_wait(session, exec_id, position)
    if wait is None:
        message = (
            f"execution {exec_id!r} has no wait at {position!r}, or there is no such execution."
            f" `kitaru executions get {exec_id}` shows what it waits for."
        )
        raise KitaruNotFoundError(message)
    message = (
        f"wait {wait.wait_id!r} of execution {exec_id!r} cannot be {status.value}: {_why_not(wait)}."
        f" `kitaru executions get {exec_id}` shows where the execution stands."
    )
    raise KitaruStateError(message)


def _why_not(wait: WaitRecord) -> str:
    if wait.kind is WaitKind.TIMER:
        return "it is a timer and ends by itself"
    if wait.kind is WaitKind.CHILD:
        return f"it ends with execution {wait.child_id!r}"
    at = "" if wait.resolved_at is None else f" at {_utc(wait.resolved_at)}"
    match wait.status:
        case WaitStatus.EXPIRED:
            return f"it expired{at}, before anyone answered"
        case WaitStatus.CLOSED:
            return f"its execution ended{at}, before anyone answered"
        case _:
            by = "" if wait.resolved_by is None else f" by {wait.resolved_by!r}"
            via = "" if wait.resolved_via is None else f" via {wait.resolved_via!r}"
            return f"it was {wait.status.value}{by}{via}{at}"


def _utc(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _json(words: Sequence[str] | None) -> str | None:
    return None if words is None else msgspec.json.encode(list(words)).decode()
