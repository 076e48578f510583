from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kitaru.model import (
    CallKind,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
    StoredValue,
)
from kitaru.retention import Prunable, PruneStep, RetentionRule, TreeSizes
from kitaru.store import Store
from tests.store.records import (
    BLOB,
    NOW,
    SECOND,
    artifact,
    call,
    commit_one,
    completed,
    ended,
    entry,
    event,
    finish,
    log_line,
    metadata,
    run,
)

HOUR = 3600 * SECOND
LATER = NOW + 100 * HOUR
OLD = RetentionRule(older_than=timedelta(hours=1))


def found(store: Store, rule: RetentionRule, **options: Any) -> list[str]:
    """Return the ids of everything that a rule finds, page by page."""
    options = {"now": LATER, "limit": 3, **options}
    ids: list[str] = []
    after = None
    while True:
        page = store.list_prunable(rule, after=after, **options)
        ids += [one.exec_id for one in page.found]
        after = page.after
        if after is None:
            return ids


def ids(*executions: ExecutionRecord) -> list[str]:
    return [execution.id for execution in executions]


def kept(store: Store) -> set[str]:
    return {one.id for one in store.list_executions(ExecutionFilter(project="default"), limit=999)}


def prune(store: Store, *executions: ExecutionRecord, **options: Any) -> PruneStep:
    given: dict[str, Any] = {"now": LATER, "most_rows": 1000, **options}
    return store.prune_executions(ids(*executions), given.pop("rule", OLD), **given)


def test_finished_executions_are_found_the_oldest_first(store: Store) -> None:
    done = [finish(store, created_at=NOW + number) for number in (2, 0, 1, 3, 4)]
    run(store)

    assert found(store, OLD) == ids(done[1], done[2], done[0], done[3], done[4])


def test_rule_goes_by_when_an_execution_ended_and_not_by_when_it_began(store: Store) -> None:
    long = run(store, created_at=NOW)
    commit_one(store, entry(long, outcome=completed(LATER - HOUR)))
    short = run(store, created_at=NOW)
    commit_one(store, entry(short, outcome=completed(LATER - HOUR - 1)))

    assert found(store, OLD) == ids(short)


def test_statuses_and_flows_of_a_rule_are_kept_to(store: Store) -> None:
    failed = finish(store, ExecutionStatus.FAILED, flow="nightly-a")
    finish(store, ExecutionStatus.COMPLETED, flow="nightly-a")
    cancelled = finish(store, ExecutionStatus.CANCELLED, flow="nightly-b", project="other")
    finish(store, ExecutionStatus.FAILED, flow="daily")
    statuses = (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)
    rule = RetentionRule(flows=("nightly-*",), statuses=statuses, keep=0)

    assert found(store, rule) == ids(failed, cancelled)
    assert found(store, rule, project="default") == ids(failed)
    assert found(store, rule, project="nobody") == []


@pytest.mark.parametrize("keep", [0, 1, 3, 6, 7])
def test_newest_of_each_flow_are_kept_whatever_their_status(store: Store, keep: int) -> None:
    statuses = [ExecutionStatus.COMPLETED, ExecutionStatus.FAILED] * 3
    done = [
        finish(store, status, created_at=NOW + number) for number, status in enumerate(statuses)
    ]
    other = finish(store, flow="other")

    gone = found(store, RetentionRule(keep=keep))

    assert set(gone) - {other.id} == set(ids(*done[: max(0, 6 - keep)]))
    assert (other.id in gone) == (keep == 0)


def test_age_and_number_must_both_allow_it(store: Store) -> None:
    done = [finish(store, created_at=NOW + number) for number in range(4)]
    late = run(store, created_at=NOW)
    commit_one(store, entry(late, outcome=completed(LATER)))

    rule = RetentionRule(older_than=timedelta(hours=1), keep=2)

    assert found(store, rule) == ids(*done[:2])


def test_children_are_neither_found_nor_counted_by_themselves(store: Store) -> None:
    parent = run(store, flow="parent")
    for number in range(5):
        finish(store, parent_id=parent.id, parent_position=f"c#{number}", created_at=NOW + 9)
    roots = [finish(store, created_at=NOW + number) for number in range(3)]

    assert found(store, RetentionRule(keep=1)) == ids(*roots[:2])


def test_pruned_executions_are_gone_with_all_that_they_have_kept(store: Store) -> None:
    parent = run(store)
    child = run(store, parent_id=parent.id, parent_position="c#1")
    for one in (child, parent):
        written = entry(
            one,
            call(kind=CallKind.CHECKPOINT),
            artifacts=(artifact(),),
            metadata=(metadata(),),
            events=(event(),),
            outcome=completed(),
        )
        commit_one(store, written)
        store.append_logs([log_line(one.id)])
    stays = finish(store)

    step = prune(store, parent)

    gone = Prunable(parent.id, "default", "research", ExecutionStatus.COMPLETED)
    assert step == PruneStep(pruned=((gone, 2),))
    assert kept(store) == {stays.id}
    assert store.list_logs(parent.id) == []
    assert store.verify() == []


def test_step_ends_before_it_touches_more_rows_than_it_may(store: Store) -> None:
    done: list[ExecutionRecord] = []
    for _ in range(4):
        execution = run(store)
        calls = [call(f"fetch#{number}") for number in range(9)]
        commit_one(store, entry(execution, *calls, outcome=completed()))
        done.append(execution)

    step = prune(store, *done, most_rows=25)

    assert [gone.exec_id for gone, _ in step.pruned] == ids(*done[:2])
    assert step.left == tuple(ids(*done[2:]))


def test_large_execution_loses_what_it_told_in_steps_and_its_journal_in_one(store: Store) -> None:
    large = run(store)
    calls = [call(f"fetch#{number}") for number in range(30)]
    events = tuple(event() for _ in range(15))
    commit_one(store, entry(large, *calls, events=events, outcome=completed()))
    store.append_logs([log_line(large.id) for _ in range(30)])
    small = finish(store)
    steps: list[tuple[int, int, int]] = []
    left = (large.id, small.id)

    while left:
        step = store.prune_executions(left, OLD, now=LATER, most_rows=10)
        left = step.left
        told = len(store.list_logs(large.id)) + len(store.list_events(large.id))
        steps.append((told, len(store.list_calls(large.id)), len(step.pruned)))

    assert steps == [
        (35, 30, 0),
        (25, 30, 0),
        (15, 30, 0),
        (5, 30, 0),
        (0, 30, 0),
        (0, 0, 1),
        (0, 0, 1),
    ]
    assert kept(store) == set()


def test_execution_that_was_retried_meanwhile_stays(store: Store) -> None:
    failed = finish(store, ExecutionStatus.FAILED)
    other = finish(store)
    store.retry_execution(failed.id, reopen=[], now=LATER)

    step = prune(store, failed, other)

    assert step.skipped == (failed.id,)
    assert kept(store) == {failed.id}


def test_execution_stays_for_as_long_as_something_unfinished_belongs_to_it(store: Store) -> None:
    parent = run(store)
    child = run(store, parent_id=parent.id, parent_position="c#1")
    commit_one(store, entry(parent, outcome=completed()))

    assert prune(store, parent).skipped == (parent.id,)

    commit_one(store, entry(child, outcome=completed()))

    assert prune(store, parent).pruned[0][1] == 2


def test_execution_stays_for_as_long_as_a_replay_reads_it_or_its_child(store: Store) -> None:
    parent = run(store)
    child = finish(store, parent_id=parent.id, parent_position="c#1")
    commit_one(store, entry(parent, outcome=completed()))
    replay = run(store, origin_id=child.id)

    assert prune(store, parent).skipped == (parent.id,)

    commit_one(store, entry(replay, outcome=ended(ExecutionStatus.CANCELLED)))

    assert prune(store, parent).pruned[0][1] == 2


def test_child_is_never_pruned_without_its_parent(store: Store) -> None:
    parent = run(store)
    child = finish(store, parent_id=parent.id, parent_position="c#1")

    assert prune(store, child).skipped == (child.id,)


def test_what_is_gone_already_is_no_hindrance(store: Store) -> None:
    gone = finish(store)
    prune(store, gone)

    assert prune(store, gone) == PruneStep(skipped=(gone.id,))


def test_trees_are_measured_with_their_values(store: Store) -> None:
    parent = run(store)
    large = call("large#1", inputs=StoredValue("kitaru/1", b"12345", None, 5), output=BLOB)
    child = run(store, parent_id=parent.id, parent_position="c#1")
    commit_one(store, entry(child, large, artifacts=(artifact(value=BLOB),), outcome=completed()))
    commit_one(store, entry(parent, outcome=completed()))
    other = finish(store)

    assert store.measure_trees(ids(parent, other)) == TreeSizes(3, 3 + 3 + 5, 200_000)
    assert store.measure_trees([]) == TreeSizes(0, 0, 0)


def test_blob_is_unnamed_only_if_no_kind_of_row_names_it(store: Store) -> None:
    values = [StoredValue("kitaru/1", None, f"{number:064x}", 40_000) for number in range(7)]
    execution = run(store, inputs=values[0])
    written = entry(
        execution,
        call(inputs=values[1], output=values[2]),
        artifacts=(artifact(value=values[3]),),
        outcome=completed(),
    )
    commit_one(store, written)
    asked = [value.digest for value in values if value.digest is not None]

    assert store.list_unnamed_blobs(asked) == asked[4:]
    assert store.list_unnamed_blobs([]) == []


def test_oldest_start_is_that_of_the_oldest_that_runs(store: Store) -> None:
    assert store.find_oldest_start() is None

    finish(store, created_at=NOW - HOUR)
    run(store, created_at=NOW + 5)
    run(store, created_at=NOW + 3)

    assert store.find_oldest_start() == NOW + 3
