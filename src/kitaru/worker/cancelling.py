"""Cancel executions, and tell those of this process at once."""

from __future__ import annotations

import getpass
import platform
from typing import TYPE_CHECKING

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
    execution = runner.store.request_cancel(exec_id, by=_who(), now=runner.services.clock.now())
    runner.notice()
    return execution


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{platform.node()}"
