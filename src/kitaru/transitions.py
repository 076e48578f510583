"""The state machine of an execution, as one table.

The store's statements carry the same rules as conditions; this table says them in one place, and the state
chart of the documentation is held to it.
"""

from __future__ import annotations

from typing import NoReturn

from kitaru.errors import KitaruStateError
from kitaru.model import ExecutionStatus

_S = ExecutionStatus

TRANSITIONS: dict[ExecutionStatus, frozenset[ExecutionStatus]] = {
    _S.PENDING: frozenset({_S.RUNNING, _S.CANCELLED}),
    # To pending: the runner gave it back, or its lease was reaped.
    _S.RUNNING: frozenset({_S.WAITING, _S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.PENDING}),
    _S.WAITING: frozenset({_S.PENDING, _S.CANCELLED}),
    # To pending: a retry.
    _S.FAILED: frozenset({_S.PENDING}),
    _S.COMPLETED: frozenset(),
    _S.CANCELLED: frozenset(),
}
"""From each status, the statuses that may follow. `pending` to `running` is the claim, the only way in."""


def refuse(action: str, exec_id: str, current: ExecutionStatus, allowed: str) -> NoReturn:
    """Refuse an action that the execution's present status does not allow.

    Args:
        action: Past participle, such as `retried`.
        exec_id: The execution.
        current: Its present status.
        allowed: Which executions can be acted on so, such as `failed`.

    Raises:
        KitaruStateError: Always.
    """
    message = (
        f"only {allowed} executions can be {action}; execution {exec_id!r} is {current.value}."
    )
    raise KitaruStateError(message)
