"""Applying retention rules: those given, or those that the settings have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from kitaru import pruning
from kitaru.blobs.collecting import GRACE
from kitaru.client.connection import Connection
from kitaru.clock import present_clock
from kitaru.errors import KitaruUsageError
from kitaru.pruning import Pruned
from kitaru.retention import RetentionRule, Space

_EXAMPLE = (
    "Give one, as in `kitaru clean executions --older-than 30d --keep 100`, or configure it:"
    ' [[tool.kitaru.retention]] with older_than = "30d" in pyproject.toml.'
)


def rules_of(
    connection: Connection, rules: Sequence[RetentionRule] | None
) -> Sequence[RetentionRule]:
    """Return the given rules, or those that the settings have.

    Raises:
        KitaruUsageError: There are none.
    """
    chosen = connection.settings.retention if rules is None else rules
    if not chosen:
        message = (
            f"no retention rule is configured, and none is given, so everything is kept. {_EXAMPLE}"
        )
        raise KitaruUsageError(message)
    return chosen


def plan(
    connection: Connection, rules: Sequence[RetentionRule] | None, project: str | None
) -> Pruned:
    """Return what `prune` would remove now."""
    chosen = rules_of(connection, rules)
    now = present_clock(connection.store.clock).now()
    return pruning.plan_pruning(connection.store, chosen, now=now, project=project)


def prune(
    connection: Connection,
    rules: Sequence[RetentionRule] | None,
    project: str | None,
    grace: timedelta | None,
) -> Pruned:
    """Remove what the rules let go, and large values that nothing names any more.

    Durability: many short transactions; it may die at any point and be repeated.
    """
    from kitaru import worker

    pruned = pruning.prune(
        connection.store,
        connection.blobs,
        rules_of(connection, rules),
        clock=present_clock(connection.store.clock),
        project=project,
        grace=GRACE if grace is None else grace,
    )
    worker.forget_runner_logs(connection.settings, connection.store)
    return pruned


def measure(connection: Connection) -> Space:
    """Return how much room the store's file takes."""
    return connection.store.measure_space()


def shrink(connection: Connection) -> tuple[Space, Space]:
    """Give the file's free space back to the disk; return its room before and after.

    Durability: one transaction.
    """
    before = measure(connection)
    connection.store.shrink()
    return before, measure(connection)
