from __future__ import annotations

from typing import Any

import pytest

from kitaru.errors import KitaruNotFoundError
from kitaru.model import ExecutionFilter, ExecutionStatus
from kitaru.store import Store
from tests.store.records import NOW, commit_one, create, entry, finish, metadata, new_execution, run


def ids(store: Store, **where: Any) -> list[str]:
    fields: dict[str, Any] = {"project": "default", **where}
    listed = store.list_executions(ExecutionFilter(**fields), limit=100)
    return [execution.id for execution in listed]


def test_unknown_execution_is_not_found(store: Store) -> None:
    create(store, id="abc")

    with pytest.raises(KitaruNotFoundError, match="there is no execution 'ab'"):
        store.get_execution("ab")


def test_ids_are_found_by_their_beginning_in_order(store: Store) -> None:
    for name in ["b2", "a", "b1", "b", "c", "B3"]:
        create(store, id=name)

    assert store.find_execution_ids("b") == ["b", "b1", "b2"]
    assert store.find_execution_ids("b", limit=2) == ["b", "b1"]
    assert store.find_execution_ids("x") == []
    assert store.find_execution_ids("") == ["B3", "a", "b", "b1", "b2", "c"]


@pytest.mark.parametrize("wildcard", ["%", "_", "*", "?", "[a]", "\\"])
def test_wildcards_in_a_prefix_mean_themselves(store: Store, wildcard: str) -> None:
    create(store, id="abc")
    create(store, id=f"a{wildcard}c")

    assert store.find_execution_ids(f"a{wildcard}") == [f"a{wildcard}c"]


def test_executions_are_listed_newest_first_whatever_their_status(store: Store) -> None:
    old = finish(store, created_at=NOW)
    middle = run(store, created_at=NOW + 1)
    twins = sorted(create(store, created_at=NOW + 2).id for _ in range(2))
    newest = finish(store, ExecutionStatus.FAILED, created_at=NOW + 3)

    assert ids(store) == [newest.id, twins[1], twins[0], middle.id, old.id]


def test_listed_executions_are_complete(store: Store) -> None:
    execution = finish(store, ExecutionStatus.FAILED, tags=("a",), idempotency_key="k")

    listed = store.list_executions(ExecutionFilter(project="default"), limit=1)

    assert listed == [execution]


def test_list_is_narrowed_by_each_field(store: Store) -> None:
    plain = create(store)
    parent = run(store)
    other_flow = create(store, flow="other")
    other_stack = create(store, stack="ray")
    tagged = create(store, tags=("a,b", 'c"d'))
    child = create(store, parent_id=parent.id, parent_position="x#1")
    create(store, project="other")
    everything = {plain.id, parent.id, other_flow.id, other_stack.id, tagged.id, child.id}

    assert set(ids(store)) == everything
    assert ids(store, flow="other") == [other_flow.id]
    assert ids(store, status=ExecutionStatus.RUNNING) == [parent.id]
    assert ids(store, flow="research", status=ExecutionStatus.RUNNING) == [parent.id]
    assert ids(store, flow="other", status=ExecutionStatus.RUNNING) == []
    assert ids(store, stack="ray") == [other_stack.id]
    assert ids(store, tag='c"d') == [tagged.id]
    assert ids(store, tag="a") == []
    assert ids(store, parent_id=parent.id) == [child.id]
    assert ids(store, project="nobody's") == []


def test_list_is_narrowed_by_the_executions_own_metadata(store: Store) -> None:
    first, second, third = run(store), run(store), run(store)
    commit_one(store, entry(first, metadata=(metadata("a", "1"), metadata("b", '"x"'))))
    commit_one(store, entry(second, metadata=(metadata("a", "1"), metadata("b", '"y"'))))
    commit_one(store, entry(third, metadata=(metadata("a", "1", position="fetch#1"),)))

    assert ids(store, metadata={"a": "1"}) == [second.id, first.id]
    assert ids(store, metadata={"a": "1", "b": '"x"'}) == [first.id]
    assert ids(store, metadata={"a": '"1"'}) == []


@pytest.mark.parametrize("where", [{}, {"flow": "research"}, {"stack": "local"}])
def test_pages_follow_each_other_without_gap_or_repetition(
    store: Store, where: dict[str, Any]
) -> None:
    # Many with the same moment, so that pages end between executions that only the id tells apart.
    store.commit([new_execution(created_at=NOW + number // 4) for number in range(20)])
    finish(store, created_at=NOW + 2)
    given = ExecutionFilter(project="default", **where)
    expected = [execution.id for execution in store.list_executions(given, limit=100)]

    found: list[str] = []
    before = None
    while page := store.list_executions(given, limit=3, before=before):
        found += [execution.id for execution in page]
        before = (page[-1].created_at, page[-1].id)

    assert len(expected) == 21
    assert found == expected


def test_count_is_what_a_list_without_end_would_have(store: Store) -> None:
    finish(store, tags=("a",))
    create(store, tags=("a",))
    create(store, flow="other")
    create(store, project="other")

    assert store.count_executions(ExecutionFilter(project="default")) == 3
    assert store.count_executions(ExecutionFilter(project="default", tag="a")) == 2
    assert store.count_executions(ExecutionFilter(project="default", flow="other")) == 1
    assert (
        store.count_executions(
            ExecutionFilter(project="default", status=ExecutionStatus.COMPLETED, tag="a")
        )
        == 1
    )


def test_counting_stops_where_it_is_told_to(store: Store) -> None:
    for _ in range(3):
        create(store)
    everything = ExecutionFilter(project="default")

    counts = [store.count_executions(everything, at_most=most) for most in (2, 3, 9)]

    assert counts == [2, 3, 3]
