"""Looking executions up and acting on them from outside their run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kitaru.errors import KitaruNotFoundError, KitaruStateError
from kitaru.model import ExecutionFilter, ExecutionRecord, ExecutionStatus
from kitaru.store.database import Session
from kitaru.store.execution_rows import execution_from_row
from kitaru.store.listing import count_statement, list_statement
from kitaru.store.waits import end_waits, reopen_wait
from kitaru.transitions import refuse

# The last code point there is: what sorts before `prefix + this` and not before `prefix` begins with it.
_BEYOND = "\U0010ffff"


def find_execution(session: Session, exec_id: str) -> ExecutionRecord | None:
    """Return one execution, if there is one with this id."""
    row = session.row("find_execution", exec_id)
    return None if row is None else execution_from_row(row)


def get_execution(session: Session, exec_id: str) -> ExecutionRecord:
    """Return one execution, or raise `KitaruNotFoundError`."""
    execution = find_execution(session, exec_id)
    if execution is None:
        raise _unknown(exec_id)
    return execution


def find_holder_of_key(session: Session, project: str, flow: str, key: str) -> str | None:
    """Return the id of the execution that took an idempotency key, if one did."""
    row = session.row("find_by_idempotency_key", project, flow, key)
    return None if row is None else row[0]


def find_execution_ids(session: Session, prefix: str, limit: int) -> list[str]:
    """Return ids that begin with `prefix`, in order."""
    rows = session.rows("find_execution_ids", prefix, prefix + _BEYOND, limit)
    return [exec_id for (exec_id,) in rows]


def list_executions(
    session: Session, where: ExecutionFilter, limit: int, before: tuple[int, str] | None
) -> list[ExecutionRecord]:
    """Return a page of executions, newest first."""
    columns = session.statement("execution_columns").text
    text, arguments = list_statement(
        columns,
        where,
        _has_tag(session),
        limit=limit,
        before=before,
        merges=session.merges_in_order,
    )
    return [execution_from_row(row) for row in session.query(text, arguments)]


def count_executions(session: Session, where: ExecutionFilter, at_most: int) -> int:
    """Return how many executions fit, counting up to `at_most`."""
    text, arguments = count_statement(where, _has_tag(session), at_most)
    return session.query(text, arguments)[0][0]


def retry_execution(
    session: Session, exec_id: str, reopen: Sequence[str], now: int
) -> ExecutionRecord:
    """Make a failed execution and its failed calls at `reopen` pending."""
    if not session.run("reopen_execution", now, exec_id):
        refuse("retried", exec_id, _status(session, exec_id), "failed")
    reopen_calls(session, exec_id, reopen)
    return get_execution(session, exec_id)


def request_cancel(session: Session, exec_id: str, by: str, now: int) -> ExecutionRecord:
    """Cancel an execution and its descendants, or ask their runners to."""
    session.lock_executions([exec_id])
    status = _status(session, exec_id)
    if status.is_finished:
        refuse("cancelled", exec_id, status, "unfinished")
    ended: list[str] = []
    # Again until there is nothing left: whoever held one of the rows may have started a child meanwhile.
    while asked := session.rows("cancel_tree", now, by, exec_id):
        ended += [found for found, ended_at in asked if ended_at is not None]
    end_waits(session, ended)
    return get_execution(session, exec_id)


def delete_execution(session: Session, exec_id: str) -> None:
    """Remove an execution and its descendants, all of them and its ancestors finished."""
    lock_family(session, exec_id)
    _status(session, exec_id)
    unfinished = find_unfinished_member(session, exec_id)
    if unfinished is not None:
        found, status = unfinished
        if found == exec_id:
            refuse("deleted", exec_id, ExecutionStatus(status), "finished")
        message = (
            f"execution {exec_id!r} cannot be deleted while its descendant {found!r} is {status}."
            f" Cancel it with `kitaru executions cancel {found}`, or wait for it."
        )
        raise KitaruStateError(message)
    ancestor = session.row("find_unfinished_ancestor", exec_id)
    if ancestor is not None:
        found, status = ancestor
        message = (
            f"execution {exec_id!r} cannot be deleted while its ancestor {found!r} is {status}, which"
            f" may need it to go on. Cancel that with `kitaru executions cancel {found}`, or wait for it."
        )
        raise KitaruStateError(message)
    replay = find_unfinished_replay(session, exec_id)
    if replay is not None:
        found, status, origin = replay
        message = (
            f"execution {exec_id!r} cannot be deleted while {found!r}, a replay of {origin!r}, is {status},"
            f" which may read it. Cancel that with `kitaru executions cancel {found}`, or wait for it."
        )
        raise KitaruStateError(message)
    delete_tree(session, exec_id)


def lock_family(session: Session, exec_id: str) -> None:
    """Let nobody go on with, replay or start anything in an execution's family before it is deleted."""
    session.rows("lock_family", exec_id)


def find_unfinished_member(session: Session, exec_id: str) -> tuple[str, str] | None:
    """Return which of an execution and its descendants is not over, and where that one stands."""
    row = session.row("find_unfinished_in_tree", exec_id)
    return None if row is None else (row[0], row[1])


def find_unfinished_replay(session: Session, exec_id: str) -> tuple[str, str, str] | None:
    """Return a replay that may still read an execution, where it stands, and what it replays."""
    row = session.row("find_unfinished_replay", exec_id)
    return None if row is None else (row[0], row[1], row[2])


def delete_tree(session: Session, exec_id: str) -> int:
    """Remove an execution and its descendants with all their rows; return how many executions went."""
    return session.run("delete_tree", exec_id)


def get_statuses(session: Session, exec_ids: Sequence[str]) -> dict[str, ExecutionStatus]:
    """Return where those of these executions stand that exist."""
    rows = session.rows("get_statuses", msgspec.json.encode(list(exec_ids)).decode())
    return {exec_id: ExecutionStatus(status) for exec_id, status in rows}


def _has_tag(session: Session) -> str:
    return session.statement("has_tag").text


def find_status(session: Session, exec_id: str) -> ExecutionStatus | None:
    """Return where an execution stands, if there is one."""
    row = session.row("get_status", exec_id)
    return None if row is None else ExecutionStatus(row[0])


def _status(session: Session, exec_id: str) -> ExecutionStatus:
    found = find_status(session, exec_id)
    if found is None:
        raise _unknown(exec_id)
    return found


def _unknown(exec_id: str) -> KitaruNotFoundError:
    return KitaruNotFoundError(
        f"there is no execution {exec_id!r}. `kitaru executions list` shows those that there are."
    )


def reopen_calls(session: Session, exec_id: str, positions: Sequence[str]) -> None:
    """Make failed calls pending, so that the next run of the flow runs their bodies or asks again."""
    for position in positions:
        # What did not fail keeps its outcome, and an answer that the flow has not heard of yet is kept too.
        if session.run("reopen_call", exec_id, position):
            reopen_wait(session, exec_id, position)
