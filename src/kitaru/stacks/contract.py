"""What an attendant asks of a stack."""

from __future__ import annotations

from typing import Protocol

from kitaru.model import ExecutionRecord


class Stack(Protocol):
    """A place where a process can be started for an execution.

    Starting two for one execution is harmless: both claim it, and one loses.
    """

    @property
    def name(self) -> str:
        """The stack's name, as executions have it."""
        ...

    def launch(self, execution: ExecutionRecord) -> int:
        """Start a process that claims this execution, and return its id.

        Raises:
            KitaruBackendError: None can be started now.
        """
        ...

    def take_killed(self) -> list[str]:
        """Return the executions whose processes were killed from outside, each once for each process."""
        ...

    def count(self) -> int:
        """Return how many processes that were started through this object still run."""
        ...
