from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kitaru.errors import KitaruBackendError, KitaruNotFoundError, KitaruStateError
from kitaru.model import (
    Bundle,
    CallKind,
    CallStatus,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
)
from kitaru.store import Store
from kitaru.store.sqlite import SQLiteStore
from tests.store.records import (
    BLOB,
    NOW,
    SECOND,
    answered,
    artifact,
    attempt,
    call,
    child_wait,
    commit_one,
    completed,
    create,
    entry,
    event,
    failed,
    finish,
    log_line,
    metadata,
    question,
    run,
    timer,
)

S = ExecutionStatus
EVERYTHING = ExecutionFilter(project="default")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Store]:
    """Return the store from which executions come."""
    opened = SQLiteStore(tmp_path / "elsewhere.db")
    yield opened
    opened.close()


def exported(store: Store, exec_id: str) -> Bundle:
    return Bundle(
        execution=store.get_execution(exec_id),
        calls=tuple(store.list_calls(exec_id)),
        attempts=tuple(store.list_attempts(exec_id)),
        artifacts=tuple(store.list_artifacts(exec_id)),
        metadata=tuple(store.list_metadata(exec_id)),
        waits=tuple(store.list_waits(exec_id)),
        events=tuple(found for _, found in store.list_events(exec_id)),
        logs=tuple(line for _, line in store.list_logs(exec_id)),
    )


def eventful(store: Store, **fields: object) -> ExecutionRecord:
    """Return a finished execution with several rows of every kind."""
    execution = run(store, retries_left=2, tags=("x",), idempotency_key="key", **fields)
    child = finish(store, parent_id=execution.id, parent_position="child#1")
    commit_one(
        store,
        entry(
            execution,
            *(call(f"{name}#1") for name in "zyxwvutsrqponmlkjihg"),
            call("a#1", output=BLOB),
            call("b#1", status=CallStatus.FAILED),
            call("child#1", kind=CallKind.CHILD),
            attempts=(attempt(), attempt(number=2)),
            artifacts=(artifact(), artifact(name="b", attempt_failed=True)),
            metadata=(metadata(), metadata("k", "1", "a#1")),
            events=(event(), event("second", position="a#1")),
            waits=(
                question(execution),
                timer(execution, wake_at=NOW, created_at=NOW + 1),
                child_wait(execution, child.id, created_at=NOW + 2),
                question(execution, "wait:late#1", created_at=NOW + 3, problem="no"),
            ),
        ),
    )
    store.resolve_wait(execution.id, "wait:approve#1", answered(), now=NOW + 5)
    store.append_logs([log_line(execution.id, "2", position="a#1"), log_line(execution.id, "1")])
    commit_one(store, entry(execution, outcome=completed(NOW + SECOND)))
    return store.get_execution(execution.id)


def test_imported_executions_are_exactly_as_they_were(store: Store, elsewhere: Store) -> None:
    origin = finish(elsewhere, S.FAILED)
    parent = eventful(elsewhere, origin_id=origin.id, replay_plan={"version": 1})
    [child] = elsewhere.list_executions(
        ExecutionFilter(project="default", parent_id=parent.id), limit=9
    )
    cancelled = run(elsewhere)
    elsewhere.request_cancel(cancelled.id, by="me", now=NOW)
    elsewhere.reap(now=NOW, dead_owners=["owner-1"])
    bundles = [
        exported(elsewhere, exec_id) for exec_id in [origin.id, parent.id, child.id, cancelled.id]
    ]

    store.import_executions(bundles)

    assert [exported(store, bundle.execution.id) for bundle in bundles] == bundles
    assert store.count_executions(EVERYTHING) == 4
    assert store.verify() == []


def test_nothing_is_imported_if_one_of_them_is_here_already(store: Store, elsewhere: Store) -> None:
    bundles = [exported(elsewhere, finish(elsewhere).id) for _ in range(2)]
    here = bundles[1].execution.id
    store.import_executions(bundles[1:])

    with pytest.raises(KitaruStateError, match=f"'{here}' cannot be imported: it is here already"):
        store.import_executions(bundles)

    assert store.list_executions(EVERYTHING, limit=9) == [bundles[1].execution]


def test_execution_cannot_be_imported_twice_at_once(store: Store, elsewhere: Store) -> None:
    bundle = exported(elsewhere, finish(elsewhere).id)

    with pytest.raises(KitaruStateError, match="it is here already"):
        store.import_executions([bundle, bundle])

    assert store.count_executions(EVERYTHING) == 0


@pytest.mark.parametrize("status", [S.PENDING, S.RUNNING])
def test_only_finished_executions_are_imported(
    store: Store, elsewhere: Store, status: ExecutionStatus
) -> None:
    unfinished = create(elsewhere) if status is S.PENDING else run(elsewhere)
    bundles = [
        exported(elsewhere, finish(elsewhere).id),
        Bundle(execution=unfinished),
    ]

    with pytest.raises(KitaruStateError, match=f"only finished .* '{unfinished.id}' is {status}"):
        store.import_executions(bundles)

    assert store.count_executions(EVERYTHING) == 0


def test_finished_execution_with_an_open_wait_is_not_imported(
    store: Store, elsewhere: Store
) -> None:
    execution = finish(elsewhere)

    with pytest.raises(KitaruStateError, match="its wait 'approve-1' is open"):
        store.import_executions([Bundle(execution=execution, waits=(question(execution),))])


def test_imported_child_is_tied_to_the_parent_that_is_here(store: Store, elsewhere: Store) -> None:
    parent = finish(elsewhere)
    child = finish(elsewhere, parent_id=parent.id, parent_position="c#1")
    store.import_executions([exported(elsewhere, parent.id)])

    store.import_executions([exported(elsewhere, child.id)])

    assert store.get_execution(child.id) == child


def test_imported_child_whose_parent_is_nowhere_stands_alone(
    store: Store, elsewhere: Store
) -> None:
    parent = finish(elsewhere)
    child = finish(elsewhere, parent_id=parent.id, parent_position="c#1")

    store.import_executions([exported(elsewhere, child.id)])

    assert store.get_execution(child.id) == replace(child, parent_id=None, parent_position=None)


def test_child_that_is_imported_before_its_parent_is_refused(
    store: Store, elsewhere: Store
) -> None:
    parent = finish(elsewhere)
    child = finish(elsewhere, parent_id=parent.id, parent_position="c#1")

    with pytest.raises(KitaruBackendError):
        store.import_executions([exported(elsewhere, one.id) for one in [child, parent]])

    with pytest.raises(KitaruNotFoundError):
        store.get_execution(child.id)


def test_key_that_is_taken_here_is_dropped(store: Store, elsewhere: Store) -> None:
    mine = create(store, idempotency_key="key")
    taken = finish(elsewhere, idempotency_key="key")
    other_flow = finish(elsewhere, idempotency_key="key", flow="other")

    store.import_executions([exported(elsewhere, one.id) for one in [taken, other_flow]])

    assert store.get_execution(mine.id) == mine
    assert store.get_execution(taken.id) == replace(taken, idempotency_key=None)
    assert store.get_execution(other_flow.id) == other_flow


def test_imported_failure_can_be_retried(store: Store, elsewhere: Store) -> None:
    execution = run(elsewhere)
    row = call("a#1", status=CallStatus.FAILED)
    commit_one(elsewhere, entry(execution, row, outcome=failed()))
    store.import_executions([exported(elsewhere, execution.id)])

    retried = store.retry_execution(execution.id, reopen=["a#1"], now=NOW)

    assert retried.status is S.PENDING
    assert store.list_calls(execution.id)[0].status is CallStatus.PENDING


def test_importing_nothing_changes_nothing(store: Store) -> None:
    store.import_executions([])

    assert store.count_executions(EVERYTHING) == 0
