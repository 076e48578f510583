from __future__ import annotations

from kitaru.figures import Load
from kitaru.model import ExecutionStatus
from kitaru.store import Store
from tests.store.records import NOW, commit_one, create, entry, finish, question, run

S = ExecutionStatus


def test_projects_are_those_that_have_executions_by_name(store: Store) -> None:
    assert store.list_projects() == []
    for project in ("b", "a", "b", "c"):
        create(store, project=project)

    assert store.list_projects() == ["a", "b", "c"]


def test_what_is_there_and_what_is_to_be_done_is_counted_over_all_projects(store: Store) -> None:
    first = create(store, project="a")
    create(store, project="b", created_at=NOW + 1)
    finish(store, S.FAILED)
    asking = run(store)
    commit_one(store, entry(asking, waits=(question(asking),)))

    found = store.measure_load(now=NOW, at_most=10)

    assert first.status is S.PENDING
    assert found == Load(
        statuses=dict.fromkeys(S, 0) | {S.PENDING: 2, S.FAILED: 1, S.RUNNING: 1},
        open_questions=1,
        due=1,
        longest_due_at=NOW,
    )


def test_counting_what_is_there_stops_where_it_is_told_to(store: Store) -> None:
    for _ in range(5):
        create(store)

    found = store.measure_load(now=NOW, at_most=3)

    assert (found.statuses[S.PENDING], found.due) == (3, 3)
