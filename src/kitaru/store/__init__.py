"""Where executions are kept: one contract, and the databases that fulfil it."""

from __future__ import annotations

from kitaru.store.contract import Executions, Journal, Leases, Logs, Store
from kitaru.store.opening import open_store

__all__ = ["Executions", "Journal", "Leases", "Logs", "Store", "open_store"]
