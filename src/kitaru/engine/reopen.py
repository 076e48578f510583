"""Which failed calls and children a retry of a failed execution runs again; `kitaru.reopening` says how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitaru import reopening
from kitaru.reopening import led_to

if TYPE_CHECKING:
    from kitaru.engine.run import Services
    from kitaru.model import ExecutionRecord, FailureRecord

__all__ = ["led_to", "reopen_failed", "retry_failed"]


def retry_failed(services: Services, exec_id: str) -> ExecutionRecord:
    """Make a failed execution pending, and with it what led to its failure.

    Durability: as `reopening.retry_failed`.

    Raises:
        KitaruStateError: It is not failed.
        KitaruNotFoundError: There is no such execution.
    """
    return reopening.retry_failed(
        services.store, exec_id, now=services.clock.now(), read_id=services.values.load
    )


def reopen_failed(services: Services, exec_id: str, failure: FailureRecord | None) -> list[str]:
    """Make the failed children that led to a failure pending; return the failed calls that did."""
    return reopening.reopen_failed(
        services.store,
        exec_id,
        failure,
        now=services.clock.now(),
        read_id=services.values.load,
    )
