"""What a store does for those who look back: logs, statistics, archives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kitaru.figures import (
    FlowFigures,
    Load,
)
from kitaru.model import (
    Bundle,
    EventRecord,
    LogLine,
)


class Archive(Protocol):
    """Bring in what another store has exported."""

    def import_executions(self, bundles: Sequence[Bundle]) -> None:
        """Add finished executions with all their rows, exactly as they are, in one transaction.

        Blobs must be there already. Parents stand before their children. A `parent_id` of an execution
        that is neither in the bundles nor here is dropped, together with its `parent_position`; an
        `idempotency_key` that is taken here is dropped.

        Raises:
            KitaruStateError: One of them is here already, or is not finished; nothing is written.
        """
        ...


class Statistics(Protocol):
    """Count and measure what has run."""

    def measure_flows(
        self, project: str, *, flow: str | None = None, since: int | None = None
    ) -> list[FlowFigures]:
        """Return the figures of each flow that has executions, by name.

        What happens meanwhile may be counted in some figures and not in others.

        Args:
            project: Only of this project's executions.
            flow: Only of this flow's.
            since: Only of those that were created at this moment or later.
        """
        ...

    def list_projects(self) -> list[str]:
        """Return the projects that have executions, by name."""
        ...

    def measure_load(self, *, now: int, at_most: int) -> Load:
        """Return how much there is and how much is to be done, over all projects.

        Counting stops at `at_most` of each, so that what it costs has a bound.
        """
        ...


class Logs(Protocol):
    """Keep what runs print and tell, for watching."""

    def append_logs(self, lines: Sequence[LogLine]) -> None:
        """Add log lines. Lines of unknown executions are dropped silently."""
        ...

    def list_logs(
        self,
        exec_id: str,
        *,
        positions: Sequence[str] | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[tuple[int, LogLine]]:
        """Return log lines with their cursor, oldest first.

        Args:
            exec_id: The execution.
            positions: Only these calls'; the empty position is the flow's own body.
            after: Only lines with a larger cursor.
            limit: At most so many.
        """
        ...

    def append_events(self, events: Sequence[tuple[str, EventRecord]]) -> None:
        """Add events, each with its execution's id. Those of unknown executions are dropped silently."""
        ...

    def prune_events(self, exec_id: str, *, keep: int) -> None:
        """Forget all but an execution's newest `keep` events; `divergence` events stay."""
        ...

    def list_events(
        self, exec_id: str, *, after: int = 0, limit: int | None = None
    ) -> list[tuple[int, EventRecord]]:
        """Return events with their cursor, oldest first."""
        ...
