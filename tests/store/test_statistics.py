from __future__ import annotations

from collections.abc import Sequence

import pytest

from kitaru.figures import CheckpointFigures, FlowFigures, SpanFigures
from kitaru.model import CallKind, CallStatus, ExecutionRecord, ExecutionStatus
from kitaru.store import Store
from kitaru.store.queries import load_statements
from kitaru.store.sqlite import SQLiteStore
from kitaru.store.statistics import chosen_statement
from tests.store.records import (
    ABORTED,
    NOW,
    SECOND,
    answered,
    attempt,
    call,
    child_wait,
    claim,
    commit_one,
    completed,
    create,
    entry,
    failed,
    finish,
    question,
    run,
    timer,
)
from tests.store.test_plans import STATISTICS, full_scans, plan

S = ExecutionStatus


def lasting(store: Store, *spans: int, **fields: object) -> list[ExecutionRecord]:
    """Return new executions that have taken so many microseconds each."""
    found: list[ExecutionRecord] = []
    for span in spans:
        execution = run(store, **fields)
        commit_one(store, entry(execution, outcome=completed(NOW + span)))
        found.append(store.get_execution(execution.id))
    return found


def figures(store: Store, flow: str = "research", since: int | None = None) -> FlowFigures:
    [found] = store.measure_flows("default", flow=flow, since=since)
    return found


def spans_of(store: Store, spans: Sequence[int]) -> SpanFigures | None:
    lasting(store, *spans)
    return figures(store).spans


def test_executions_are_counted_by_flow_and_status(store: Store) -> None:
    lasting(store, 5, 7)
    finish(store, S.FAILED)
    finish(store, S.CANCELLED, flow="audit")
    create(store, flow="audit")
    finish(store, project="elsewhere")

    found = store.measure_flows("default")

    assert [(flow.flow, flow.statuses) for flow in found] == [
        ("audit", {S.CANCELLED: 1, S.PENDING: 1}),
        ("research", {S.COMPLETED: 2, S.FAILED: 1}),
    ]


def test_flow_that_has_done_nothing_has_no_figures_beside_its_count(store: Store) -> None:
    create(store)

    assert store.measure_flows("default") == [
        FlowFigures(
            flow="research",
            statuses={S.PENDING: 1},
            recoveries=0,
            spans=None,
            asked=0,
            answered=0,
            aborted=0,
            expired=0,
            answer_spans=None,
            checkpoints=(),
        )
    ]


def test_store_without_executions_has_no_figures(store: Store) -> None:
    assert store.measure_flows("default") == []
    assert store.measure_flows("default", flow="research", since=NOW) == []


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([7], SpanFigures(count=1, mean=7.0, median=7.0, p95=7, longest=7)),
        ([9, 2], SpanFigures(count=2, mean=5.5, median=5.5, p95=9, longest=9)),
        ([9, 1, 2], SpanFigures(count=3, mean=4.0, median=2.0, p95=9, longest=9)),
        ([4, 4, 1, 1], SpanFigures(count=4, mean=2.5, median=2.5, p95=4, longest=4)),
        (range(1, 20), SpanFigures(count=19, mean=10.0, median=10.0, p95=19, longest=19)),
        (range(1, 21), SpanFigures(count=20, mean=10.5, median=10.5, p95=19, longest=20)),
    ],
)
def test_spans_are_measured_exactly(
    store: Store, spans: Sequence[int], expected: SpanFigures
) -> None:
    assert spans_of(store, spans) == expected


def test_only_completed_executions_are_measured(store: Store) -> None:
    lasting(store, 5)
    for outcome in (failed(NOW + 90), completed(NOW + 7)):
        commit_one(store, entry(run(store), outcome=outcome))

    found = figures(store).spans

    assert found is not None
    assert (found.count, found.longest) == (2, 7)


def test_losses_of_runners_are_summed_up(store: Store) -> None:
    often, _ = run(store), run(store)
    store.reap(now=NOW, dead_owners=["owner-1"])
    store.claim_executions(claim(), now=NOW, limit=1, exec_ids=[often.id])
    store.reap(now=NOW, dead_owners=["owner-1"])

    found = figures(store)

    assert (store.get_execution(often.id).recoveries, found.recoveries) == (2, 3)
    assert found.statuses == {S.PENDING: 2}


def test_calls_are_counted_and_measured_by_checkpoint(store: Store) -> None:
    first, second = run(store), run(store)
    commit_one(
        store,
        entry(
            first,
            call("fetch#1", ended_at=NOW + 4),
            call("fetch#2", ended_at=NOW + 8),
            call("fetch#3", status=CallStatus.FAILED, ended_at=NOW + 99),
            call("parse#1", status=CallStatus.RUNNING),
            call("now#1", kind=CallKind.VALUE),
            call("child#1", kind=CallKind.CHILD),
            call("wait:ok#1", kind=CallKind.WAIT),
            attempts=(attempt("fetch#2"), attempt("fetch#3"), attempt("fetch#3", 2)),
        ),
    )
    commit_one(
        store,
        entry(
            second,
            call("fetch#1", status=CallStatus.CACHED, cached_from="x/fetch#1", ended_at=NOW + 50),
            call("fetch#2", status=CallStatus.REUSED, cached_from="x/fetch#2", ended_at=NOW + 50),
            call("fetch#3", status=CallStatus.OVERRIDDEN, cached_from="x/fetch#3"),
        ),
    )

    assert figures(store).checkpoints == (
        CheckpointFigures(
            name="fetch",
            calls=6,
            failed=1,
            cached=1,
            reused=2,
            failed_attempts=3,
            spans=SpanFigures(count=2, mean=6.0, median=6.0, p95=8, longest=8),
        ),
        CheckpointFigures(
            name="parse", calls=1, failed=0, cached=0, reused=0, failed_attempts=0, spans=None
        ),
    )


def test_questions_are_counted_and_their_answers_measured(store: Store) -> None:
    execution = run(store)
    child = create(store, flow="child")
    waits = [question(execution, f"wait:approve#{number}") for number in range(1, 5)]
    waits.append(question(execution, "wait:approve#5", wake_at=NOW + SECOND))
    others = [timer(execution, wake_at=NOW), child_wait(execution, child.id)]
    commit_one(store, entry(execution, waits=(*waits, *others)))
    for number, seconds in ((1, 60), (2, 20)):
        store.resolve_wait(
            execution.id, f"wait:approve#{number}", answered(), now=NOW + seconds * SECOND
        )
    store.resolve_wait(execution.id, "wait:approve#3", ABORTED, now=NOW + 1)
    store.wake_due(now=NOW + SECOND, limit=9)

    found = figures(store)

    assert [wait.wait_id for wait in store.list_open_waits("default", limit=9)] == ["approve-4"]
    assert (found.asked, found.answered, found.aborted, found.expired) == (5, 2, 1, 1)
    assert found.answer_spans == SpanFigures(
        count=2,
        mean=40.0 * SECOND,
        median=40.0 * SECOND,
        p95=60 * SECOND,
        longest=60 * SECOND,
    )


def test_figures_are_of_executions_created_since_a_moment(store: Store) -> None:
    lasting(store, 5, 5, created_at=NOW - SECOND)
    lasting(store, 9, created_at=NOW)

    assert figures(store).statuses == {S.COMPLETED: 3}
    assert figures(store, since=NOW).statuses == {S.COMPLETED: 1}
    assert store.measure_flows("default", since=NOW + 1) == []


def test_figures_are_of_the_flow_that_is_named(store: Store) -> None:
    lasting(store, 5)
    lasting(store, 9, flow="audit")

    assert [found.flow for found in store.measure_flows("default", flow="audit")] == ["audit"]


@pytest.mark.parametrize("name", sorted(STATISTICS))
@pytest.mark.parametrize(
    ("flow", "since", "index"),
    [
        (None, 1, "execution_by_status (status=? AND project=? AND created_at>?)"),
        ("f", 1, "execution_by_flow (project=? AND flow=? AND status=? AND created_at>?)"),
        ("f", None, "execution_by_flow (project=? AND flow=? AND status=?)"),
    ],
)
def test_statistics_find_their_executions_through_an_index(
    sqlite_store: SQLiteStore, name: str, flow: str | None, since: int | None, index: str
) -> None:
    chosen, arguments = chosen_statement("p", flow, since)
    text = load_statements("sqlite", "?")[name].text

    steps = plan(sqlite_store, f"{chosen} {text}", list(arguments))

    searches = [step for step in steps if step.startswith("SEARCH execution")]
    assert [step.split(" INDEX ")[1] for step in searches] == [index]
    assert full_scans(steps) == []
