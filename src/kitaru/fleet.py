"""Records of the processes that take executions up, and of what each can run."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.clock import MICROSECONDS
from kitaru.model import ExecutionRecord, record

WORKER_SILENCE = 10 * MICROSECONDS
"""A worker not seen for so many microseconds is not counted on; it says every 2 s that it is there."""


@record
class ClaimFilter:
    """Which pending executions a claim may win; None leaves a field open.

    Attributes:
        project: Only of this project.
        stack: Only of this stack.
        code_refs: Only of flows whose code these references name.
        besides: Not these executions, by id.
    """

    project: str | None = None
    stack: str | None = None
    code_refs: Sequence[str] | None = None
    besides: Sequence[str] = ()


@record
class WorkerRecord:
    """A process that claims what is pending, as it has announced itself.

    Attributes:
        owner: The process, as its leases name it.
        code_refs: The flows that it has; None if it looks for the code of whatever it finds.
        concurrency: How many executions it runs at once.
        running: How many it ran when it was last seen.
        seen_at: When it last said that it is there.
    """

    owner: str
    project: str
    stack: str
    code_refs: tuple[str, ...] | None
    concurrency: int
    running: int
    started_at: int
    seen_at: int

    def is_heard(self, *, now: int) -> bool:
        """Whether it has said lately that it is there."""
        return self.seen_at >= now - WORKER_SILENCE

    def serves(self, execution: ExecutionRecord) -> bool:
        """Whether it takes an execution up as soon as it has room for it."""
        return (
            self.project == execution.project
            and self.stack == execution.stack
            and (self.code_refs is None or execution.code_ref in self.code_refs)
        )
