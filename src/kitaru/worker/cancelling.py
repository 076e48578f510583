"""Cancel executions, and tell those of this process at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitaru.ids import current_user

if TYPE_CHECKING:
    from kitaru.model import ExecutionRecord
    from kitaru.worker.local import LocalRunner


def cancel(runner: LocalRunner, exec_id: str) -> ExecutionRecord:
    """Ask for an execution and its descendants to be cancelled, and return it as it is now.

    Runners in other processes notice at their next renewal, within seconds.

    Raises:
        KitaruStateError: It is over.
        KitaruNotFoundError: There is no such execution.
    """
    execution = runner.store.request_cancel(
        exec_id, by=current_user(), now=runner.services.clock.now()
    )
    runner.notice()
    return execution
