"""Records of the processes that take executions up, and of what each can run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kitaru.clock import MICROSECONDS
from kitaru.model import ExecutionRecord, record

WORKER_SILENCE = 10 * MICROSECONDS
"""A worker not seen for so many microseconds is not counted on; it says every 2 s that it is there."""


NO_CODE = "no code"
"""Why an execution was given back that a worker cannot run with the code it has; others may."""


def code_key(root: str, ref: str) -> str:
    """Return one word for an execution's code: two folders may each have a `flows:release`."""
    return f"{root}|{ref}"


def folder_key(folder: str) -> str:
    """Return the word by which a worker says that it loads whatever is wanted of a folder."""
    return code_key(folder, "*")


@record
class ClaimFilter:
    """Which pending executions a claim may win; None leaves a field open.

    Attributes:
        project: Only of this project.
        stack: Only of this stack.
        code_keys: Only of flows whose code these keys name; see `code_key`.
        besides: Not these executions, by id.
    """

    project: str | None = None
    stack: str | None = None
    code_keys: Sequence[str] | None = None
    besides: Sequence[str] = ()


@record
class WorkerRecord:
    """A process that claims what is pending, as it has announced itself.

    Attributes:
        owner: The process, as its leases name it.
        code_keys: The code that it has, by `code_key`.
        concurrency: How many executions it runs at once.
        running: How many it ran when it was last seen.
        seen_at: When it last said that it is there.
    """

    owner: str
    project: str
    stack: str
    code_keys: tuple[str, ...]
    concurrency: int
    running: int
    started_at: int
    seen_at: int

    def is_heard(self, *, now: int) -> bool:
        """Whether it has said lately that it is there."""
        return self.seen_at >= now - WORKER_SILENCE

    def may_load(self, execution: ExecutionRecord) -> bool:
        """Whether it looks for code where an execution has its own, and may have it in a moment."""
        module = execution.code_ref.rpartition(":")[0]
        folder = str(Path(module).parent) if module.endswith(".py") else execution.code_root
        return (
            self.project == execution.project
            and self.stack == execution.stack
            and folder_key(folder) in self.code_keys
        )

    def serves(self, execution: ExecutionRecord) -> bool:
        """Whether it takes an execution up as soon as it has room for it."""
        return (
            self.project == execution.project
            and self.stack == execution.stack
            and code_key(execution.code_root, execution.code_ref) in self.code_keys
        )


@record
class PresentWorker:
    """A worker that is alive, as far as can be known from here.

    Attributes:
        pid: Its number on its machine; None if it is no process of Kitaru's own.
        record: What it has announced.
    """

    pid: int | None
    record: WorkerRecord


@record
class RunnerFacts:
    """What is known of the process that has claimed an execution.

    Attributes:
        pid: Its number, where it runs; None if something else than a process of Kitaru's own claimed it.
        is_here: Whether it runs on this machine, where its number means it.
        lost: Why nobody runs the execution any more, in plain words; None if somebody may.
    """

    pid: int | None
    is_here: bool
    lost: str | None
