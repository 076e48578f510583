"""Letting go of what a retention rule no longer keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kitaru.retention import PrunablePage, PruneStep, PruningKey, RetentionRule, TreeSizes


class Pruning(Protocol):
    """Remove finished executions in steps that are short for everybody else."""

    def list_prunable(
        self,
        rule: RetentionRule,
        *,
        now: int,
        project: str | None = None,
        after: PruningKey | None = None,
        limit: int,
    ) -> PrunablePage:
        """Return some of what fits a rule, flow by flow, the oldest first; a page may be empty.

        Executions that others have started go with those and are not listed. Whether something
        unfinished still needs one is only looked at when it is pruned. What `keep` spares is decided
        when a flow's turn comes.

        Args:
            rule: What may go.
            now: The present moment.
            project: Only of this project; of all, if it is None.
            after: Where the page before has come to; None begins anew.
            limit: How many executions to look at, at most.
        """
        ...

    def measure_trees(self, exec_ids: Sequence[str]) -> TreeSizes:
        """Return how many executions these and their descendants are, and what their values take."""
        ...

    def prune_executions(
        self, exec_ids: Sequence[str], rule: RetentionRule, *, now: int, most_rows: int
    ) -> PruneStep:
        """Delete as many of these executions, with their descendants, as fit into a short transaction.

        One that does not fit the rule any more stays, and so does one with a descendant or a replay that
        is not finished; all of that is looked at in the transaction itself. An execution goes with its
        whole tree or not at all, however many rows its journal has; of one with more than `most_rows`,
        log lines and events may go before it, in steps of their own. Safe to race with everything.

        Durability: one transaction. A crash between steps leaves every execution whole, but for log
        lines and events of the one whose turn it is.
        """
        ...

    def list_unnamed_blobs(self, digests: Sequence[str]) -> list[str]:
        """Return which of these blobs no row names, in order."""
        ...

    def find_oldest_start(self) -> int | None:
        """Return since when the oldest running execution has been running; None if nothing runs."""
        ...
