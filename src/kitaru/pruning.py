"""One pass over a store: finished executions that the rules let go, then blobs that no row names any more.

It goes in short steps and rests as long as each has taken, so that whoever runs hardly notices. A pass may
be stopped after any step and die in any; the next one goes on with what is left.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from kitaru.blobs import BlobStore
from kitaru.blobs.collecting import GRACE, collect_step, safe_moment
from kitaru.clock import SYSTEM_CLOCK, Clock
from kitaru.faults import fault
from kitaru.retention import Prunable, RetentionRule
from kitaru.statuses import ExecutionStatus
from kitaru.store.contract import Store

# A page is one look at an index; a step is one transaction. Deleting a row takes some 3 us, and 100 us if it
# has a value of 20 KB: rows are then taken fewer at a time, until a step is as short as it should be.
_PAGE = 200
_MOST_ROWS = 1_000
_FEWEST_ROWS = 30
_STEP_SECONDS = 0.02

Rest = Callable[[float], bool]
"""Waits for so many seconds; True means to stop. `threading.Event.wait` is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedGroup:
    """Executions of one flow that ended alike, and went or would go.

    Attributes:
        project: Their project.
        flow: Their flow.
        status: How they ended.
        executions: How many they are.
        descendants: How many others they have started, which go with them.
        inline_bytes: Of their values in the store, if that was measured.
        blob_bytes: Of their large values, each as often as it is named; other executions may share them.
    """

    project: str
    flow: str
    status: ExecutionStatus
    executions: int
    descendants: int
    inline_bytes: int = 0
    blob_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a pass has removed, or would remove.

    Attributes:
        groups: Executions, by project, flow and status.
        skipped: How many fit a rule and stay, because something unfinished may need them.
        blobs: How many large values are gone.
        blob_bytes: How much that is.
        is_complete: Whether the pass came to its end.
    """

    groups: tuple[PrunedGroup, ...] = ()
    skipped: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    is_complete: bool = True

    @property
    def executions(self) -> int:
        """How many executions it is about, with their descendants."""
        return sum(group.executions + group.descendants for group in self.groups)


_Group = tuple[str, str, ExecutionStatus]


def plan_pruning(
    store: Store, rules: Sequence[RetentionRule], *, now: int, project: str | None = None
) -> Pruned:
    """Return what pruning would remove now; nothing is changed.

    Blobs are not counted: what can go is only known once the executions are gone.
    """
    executions: Counter[_Group] = Counter()
    totals: dict[_Group, tuple[int, int, int]] = {}
    seen: set[str] = set()
    for rule in rules:
        for page in _pages(store, rule, now, project):
            # Of several rules, the first that fits counts it.
            new = [one for one in page if one.exec_id not in seen]
            if len(rules) > 1:
                seen.update(one.exec_id for one in new)
            if not new:
                continue
            group = _group(new[0])
            sizes = store.measure_trees([one.exec_id for one in new])
            executions[group] += len(new)
            members, inline, blob = totals.get(group, (0, 0, 0))
            totals[group] = (
                members + sizes.executions,
                inline + sizes.inline_bytes,
                blob + sizes.blob_bytes,
            )
    groups = [
        PrunedGroup(
            project=group[0],
            flow=group[1],
            status=group[2],
            executions=executions[group],
            descendants=members - executions[group],
            inline_bytes=inline,
            blob_bytes=blob,
        )
        for group, (members, inline, blob) in totals.items()
    ]
    return Pruned(groups=_in_order(groups))


def prune(
    store: Store,
    blobs: BlobStore,
    rules: Sequence[RetentionRule],
    *,
    clock: Clock,
    project: str | None = None,
    grace: timedelta = GRACE,
    rest: Rest | None = None,
) -> Pruned:
    """Remove what the rules let go, then blobs that no row names; return what went.

    Args:
        store: Where executions are.
        blobs: Where their large values are.
        rules: What may go; blobs are collected even if there is none.
        clock: What executions live by. Files live by the machine's.
        project: Only this project's executions; blobs belong to all.
        grace: For how long a blob stays that nothing names.
        rest: Called between steps; the default waits and never stops.

    Durability: many short transactions; see `prune_executions` of the store and `collect_step`. Safe to
    repeat, and to race with runs, retries, replays and other passes.
    """
    rest = rest or threading.Event().wait
    executions: Counter[_Group] = Counter()
    descendants: Counter[_Group] = Counter()
    skipped: set[str] = set()
    rows = _MOST_ROWS
    is_stopped = False
    for rule in rules:
        if is_stopped:
            break
        now = clock.now()
        for page in _pages(store, rule, now, project):
            left: Sequence[str] = [one.exec_id for one in page if one.exec_id not in skipped]
            while left and not is_stopped:
                began = clock.monotonic()
                step = store.prune_executions(left, rule, now=now, most_rows=rows)
                took = clock.monotonic() - began
                fault("prune.after_step")
                rows = (
                    max(_FEWEST_ROWS, rows // 2)
                    if took > _STEP_SECONDS
                    else min(_MOST_ROWS, rows * 2)
                )
                left = step.left
                skipped.update(step.skipped)
                for gone, members in step.pruned:
                    executions[_group(gone)] += 1
                    descendants[_group(gone)] += members - 1
                is_stopped = rest(took)
            if is_stopped:
                break
    groups = [
        PrunedGroup(
            project=group[0],
            flow=group[1],
            status=group[2],
            executions=count,
            descendants=descendants[group],
        )
        for group, count in executions.items()
    ]
    collected = (0, 0, False) if is_stopped else _collect(store, blobs, grace, rest)
    return Pruned(
        groups=_in_order(groups),
        skipped=len(skipped),
        blobs=collected[0],
        blob_bytes=collected[1],
        is_complete=collected[2],
    )


def _collect(store: Store, blobs: BlobStore, grace: timedelta, rest: Rest) -> tuple[int, int, bool]:
    """Return how many blobs went, how many bytes, and whether all were looked at."""
    # In this order: what begins to run after the first puts its blobs after the second.
    oldest_start = store.find_oldest_start()
    # Blobs are marked by the clock of the machine that has them, executions by the store's.
    machine, shared = SYSTEM_CLOCK.now(), store.clock.now()
    before = safe_moment(min(machine, shared), oldest_start, grace) - abs(machine - shared)
    blobs.clear_abandoned(before=before)
    count, total = 0, 0
    after: str | None = ""
    while after is not None:
        began = SYSTEM_CLOCK.monotonic()
        step = collect_step(blobs, store.list_unnamed_blobs, before=before, after=after)
        after = step.after
        count += step.blobs
        total += step.total_bytes
        if rest(SYSTEM_CLOCK.monotonic() - began) and after is not None:
            return count, total, False
    return count, total, True


def _pages(
    store: Store, rule: RetentionRule, now: int, project: str | None
) -> Iterator[tuple[Prunable, ...]]:
    """Yield what fits a rule in pages that are not empty, each of one flow and status."""
    after = None
    while True:
        page = store.list_prunable(rule, now=now, project=project, after=after, limit=_PAGE)
        if page.found:
            yield page.found
        after = page.after
        if after is None:
            return


def _group(one: Prunable) -> _Group:
    return one.project, one.flow, one.status


def _in_order(groups: Sequence[PrunedGroup]) -> tuple[PrunedGroup, ...]:
    return tuple(sorted(groups, key=lambda group: (group.project, group.flow, group.status)))
