"""Finding and removing executions that a retention rule lets go, a little at a time.

Two rules keep this out of everybody's way. Whoever looks reads a bounded page from an index and keeps no
transaction open. Whoever deletes holds the write lock for a bounded number of rows; only the journal of one
tree of executions goes as a whole, whatever its size, because half of one must never be seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kitaru.faults import fault
from kitaru.retention import (
    Prunable,
    PrunablePage,
    PruneStep,
    PruningKey,
    RetentionRule,
    TreeSizes,
)
from kitaru.statuses import ExecutionStatus
from kitaru.store.database import Session
from kitaru.store.executions import (
    delete_tree,
    find_unfinished_member,
    find_unfinished_replay,
    lock_family,
)

# Sorts after every key that an execution has.
_LAST = (2**62, "")


def list_prunable(
    session: Session,
    rule: RetentionRule,
    now: int,
    project: str | None,
    after: PruningKey | None,
    limit: int,
) -> PrunablePage:
    """Return some of what fits a rule; looks at `limit` executions at most."""
    key = after or PruningKey(project or "", "")
    if key.status is None:
        following = _next_flow(session, rule, key, project)
        if following is None:
            return PrunablePage((), None)
        key = following
    assert key.status is not None  # noqa: S101 - `_next_flow` has begun with the first
    if key.beyond is None:
        return PrunablePage((), _with_beyond(session, rule, key))
    ended_before = rule.ended_before(now)
    # It was created before it ended, so that the index by creation bounds what must be looked at.
    beyond = min(key.beyond, (ended_before, ""))
    rows = session.rows(
        "list_finished",
        *(key.project, key.flow, key.status, *beyond, key.created_at, key.exec_id, limit),
    )
    found = tuple(
        Prunable(exec_id, key.project, key.flow, ExecutionStatus(key.status))
        for exec_id, _, ended_at, parent_id in rows
        if parent_id is None and ended_at < ended_before
    )
    if len(rows) == limit:
        exec_id, created_at, *_ = rows[-1]
        return PrunablePage(
            found,
            PruningKey(key.project, key.flow, key.status, created_at, exec_id, key.beyond),
        )
    return PrunablePage(found, _next_status(rule, key))


def _next_flow(
    session: Session, rule: RetentionRule, key: PruningKey, project: str | None
) -> PruningKey | None:
    at = (key.project, key.flow)
    while (row := session.row("next_flow", *at)) is not None:
        at = (row[0], row[1])
        if project is not None and at[0] != project:
            return None
        if rule.covers(at[1]):
            return PruningKey(*at, rule.statuses[0].value)
    return None


def _next_status(rule: RetentionRule, key: PruningKey) -> PruningKey:
    statuses = [status.value for status in rule.statuses]
    rest = statuses[statuses.index(key.status or "") + 1 :]
    return PruningKey(key.project, key.flow, rest[0] if rest else None, beyond=key.beyond)


def _with_beyond(session: Session, rule: RetentionRule, key: PruningKey) -> PruningKey:
    """Return the key with what the rule keeps of this flow cut off."""
    beyond = _LAST
    if rule.keep:
        newest = sorted(
            (
                (created_at, exec_id)
                for status in rule.statuses
                for created_at, exec_id in session.rows(
                    "list_newest_roots", key.project, key.flow, status.value, rule.keep
                )
            ),
            reverse=True,
        )
        beyond = newest[: rule.keep][-1] if newest else _LAST
    return PruningKey(key.project, key.flow, key.status, key.created_at, key.exec_id, beyond)


def measure_trees(session: Session, exec_ids: Sequence[str]) -> TreeSizes:
    """Return how many executions there are in the trees of these, and what they take."""
    [row] = session.rows("measure_trees", _json(exec_ids))
    return TreeSizes(*row)


def prune_executions(
    session: Session, exec_ids: Sequence[str], rule: RetentionRule, now: int, most_rows: int
) -> PruneStep:
    """Delete as many of these trees as `most_rows` allow; at least a part of the first."""
    pruned: list[tuple[Prunable, int]] = []
    skipped: list[str] = []
    rows = 0
    for number, exec_id in enumerate(exec_ids):
        found = _find_if_prunable(session, exec_id, rule, now)
        if found is None:
            skipped.append(exec_id)
            continue
        left = tuple(exec_ids[number:])
        [(told,)] = session.rows("count_told_rows", exec_id, most_rows + 1)
        if told > most_rows:
            if not rows:
                _trim(session, exec_id, most_rows)
            return PruneStep(tuple(pruned), left, tuple(skipped))
        [(calls,)] = session.rows("count_call_rows", exec_id, most_rows + 1)
        if rows and rows + told + calls > most_rows:
            return PruneStep(tuple(pruned), left, tuple(skipped))
        if told and told + calls > most_rows:
            # So that the one big transaction of this tree has nothing in it that could go before.
            _trim(session, exec_id, most_rows)
            return PruneStep(tuple(pruned), left, tuple(skipped))
        pruned.append((found, delete_tree(session, exec_id)))
        rows += told + calls
    if pruned:
        fault("prune.inside")
    return PruneStep(tuple(pruned), (), tuple(skipped))


def _trim(session: Session, exec_id: str, most_rows: int) -> None:
    gone = session.run("trim_logs", exec_id, most_rows)
    if gone < most_rows:
        session.run("trim_events", exec_id, most_rows - gone)
    fault("prune.inside")


def _find_if_prunable(
    session: Session, exec_id: str, rule: RetentionRule, now: int
) -> Prunable | None:
    """Return an execution that may still go: since it was found, someone may have retried or replayed it."""
    lock_family(session, exec_id)
    row = session.row("find_root", exec_id)
    if row is None:
        return None
    project, flow, status, ended_at = row
    is_fitting = (
        status in rule.statuses
        and ended_at is not None
        and ended_at < rule.ended_before(now)
        and rule.covers(flow)
    )
    if not is_fitting or find_unfinished_member(session, exec_id) is not None:
        return None
    if find_unfinished_replay(session, exec_id) is not None:
        return None
    return Prunable(exec_id, project, flow, ExecutionStatus(status))


def list_unnamed_blobs(session: Session, digests: Sequence[str]) -> list[str]:
    """Return which of these blobs no row names."""
    return sorted(digest for (digest,) in session.rows("list_unnamed_blobs", _json(digests)))


def find_oldest_start(session: Session) -> int | None:
    """Return since when the oldest running execution has been running."""
    [(moment,)] = session.rows("find_oldest_start")
    return moment


def _json(words: Sequence[str]) -> str:
    return msgspec.json.encode(list(words)).decode()
