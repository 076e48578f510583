"""Where executions are kept: one contract, and the databases that fulfil it."""

from __future__ import annotations

from kitaru.store.contract import Archive, Executions, Journal, Leases, Logs, Store, Waits
from kitaru.store.opening import open_store

__all__ = [
    "Archive", "Executions", "Journal", "Leases", "Logs", "Store", "Waits", "open_store",
]  # fmt: skip
