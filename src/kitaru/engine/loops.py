"""The one place that gives a coroutine an event loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def run_on_own_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end on a new event loop in this thread and return what it returns."""
    with asyncio.Runner() as runner:
        return runner.run(coroutine)
