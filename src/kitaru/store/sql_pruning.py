"""The part of the store's contract that prunes, fulfilled over any SQL database."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.retention import PrunablePage, PruneStep, PruningKey, RetentionRule, TreeSizes
from kitaru.store import pruning
from kitaru.store.database import Database


class SqlPruning:
    """Prunes a SQL database. The methods are specified in `contract/pruning.py`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_prunable(
        self,
        rule: RetentionRule,
        *,
        now: int,
        project: str | None = None,
        after: PruningKey | None = None,
        limit: int,
    ) -> PrunablePage:
        return self._database.read(
            lambda session: pruning.list_prunable(session, rule, now, project, after, limit)
        )

    def measure_trees(self, exec_ids: Sequence[str]) -> TreeSizes:
        return self._database.read(lambda session: pruning.measure_trees(session, exec_ids))

    def prune_executions(
        self, exec_ids: Sequence[str], rule: RetentionRule, *, now: int, most_rows: int
    ) -> PruneStep:
        if not exec_ids:
            return PruneStep()
        return self._database.write(
            lambda session: pruning.prune_executions(session, exec_ids, rule, now, most_rows)
        )

    def list_unnamed_blobs(self, digests: Sequence[str]) -> list[str]:
        return self._database.read(lambda session: pruning.list_unnamed_blobs(session, digests))

    def find_oldest_start(self) -> int | None:
        return self._database.read(pruning.find_oldest_start)
