"""Asking, parking, answering, waking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru.errors import (
    KitaruBackendError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
)
from kitaru.model import (
    Committed,
    ExecutionRecord,
    ExecutionStatus,
    Resolution,
    WaitRecord,
    WaitStatus,
)
from kitaru.store import Store
from tests.store.records import (
    ABORTED,
    NOW,
    SECOND,
    answered,
    call,
    child_wait,
    claim,
    commit_one,
    completed,
    create,
    entry,
    park,
    parked,
    question,
    run,
    timer,
)

S = ExecutionStatus

LATER = NOW + SECOND


def ask(store: Store, execution: ExecutionRecord, *waits: WaitRecord) -> None:
    assert commit_one(store, entry(execution, waits=waits)).held


def only_wait(store: Store, execution: ExecutionRecord) -> WaitRecord:
    [wait] = store.list_waits(execution.id)
    return wait


# Asking


def test_waits_are_returned_exactly_and_in_the_order_in_which_they_were_asked(store: Store) -> None:
    execution, child = run(store), run(store)
    waits = [
        question(execution, "wait:z#1"),
        timer(execution, wake_at=LATER, created_at=NOW + 1),
        child_wait(execution, child.id, created_at=NOW + 2),
        question(
            execution, "wait:a#1", question=None, schema=None, wake_at=LATER, problem="not so",
            created_at=NOW + 3,
        ),
        timer(
            execution, "timer:sleep#2", wake_at=NOW, created_at=NOW + 4, status=WaitStatus.ANSWERED,
            resolved_at=LATER,
        ),
    ]  # fmt: skip

    ask(store, execution, *waits)

    assert store.list_waits(execution.id) == waits


def test_waits_are_narrowed_to_positions(store: Store) -> None:
    execution = run(store)
    waits = [question(execution, f"wait:{name}#1") for name in "abc"]
    ask(store, execution, *waits)

    found = store.list_waits(execution.id, positions=["wait:c#1", "wait:a#1", "wait:x#1"])

    assert found == [waits[0], waits[2]]
    assert store.list_waits(execution.id, positions=[]) == []
    assert store.list_waits("nobody") == []


def test_waits_of_a_lost_claim_are_not_written(store: Store) -> None:
    execution = run(store)
    stale = replace(execution, epoch=execution.epoch - 1)

    committed = commit_one(store, entry(stale, waits=(question(execution),)))

    assert committed == Committed(held=False)
    assert store.list_waits(execution.id) == []


def test_open_wait_that_is_asked_again_is_replaced_but_as_old_as_before(store: Store) -> None:
    execution = run(store)
    ask(store, execution, question(execution))
    again = question(
        execution, question="Really?", schema=None, metadata="{}", wake_at=LATER, problem="no",
        asked_by="owner-2", created_at=NOW + 9,
    )  # fmt: skip

    ask(store, execution, again)

    assert only_wait(store, execution) == replace(again, created_at=NOW)


@pytest.mark.parametrize("resolution", [answered(), ABORTED])
def test_what_someone_has_said_is_not_lost_when_the_flow_asks_again(
    store: Store, resolution: Resolution
) -> None:
    execution = run(store)
    ask(store, execution, question(execution))
    resolved = store.resolve_wait(execution.id, "wait:approve#1", resolution, now=LATER)

    ask(store, execution, question(execution, question="Really?", asked_by="owner-2"))

    assert only_wait(store, execution) == resolved


def test_expired_question_stays_expired_when_the_flow_asks_again(store: Store) -> None:
    execution = run(store)
    ask(store, execution, question(execution, wake_at=NOW))
    store.wake_due(now=LATER, limit=9)
    expired = only_wait(store, execution)

    ask(store, execution, question(execution, wake_at=2 * NOW))

    assert only_wait(store, execution) == expired


def test_answer_that_the_flow_does_not_accept_is_asked_for_again(store: Store) -> None:
    execution = run(store)
    ask(store, execution, question(execution))
    store.resolve_wait(execution.id, "wait:approve#1", answered("3"), now=LATER)
    again = question(execution, problem="3 is too much", created_at=NOW + 9)

    ask(store, execution, again)

    assert only_wait(store, execution) == again


def test_timer_that_has_ended_in_place_replaces_the_open_one(store: Store) -> None:
    execution = run(store)
    ask(store, execution, timer(execution, wake_at=LATER))
    over = timer(execution, wake_at=LATER, status=WaitStatus.ANSWERED, resolved_at=LATER + 1)

    ask(store, execution, over)

    assert only_wait(store, execution) == over


@pytest.mark.parametrize(
    "fields",
    [
        {"status": WaitStatus.ANSWERED},
        {"resolved_at": NOW},
        {"resolved_by": "me"},
        {"answer": "1"},
        {"child_id": "x"},
    ],
)
def test_question_that_contradicts_itself_is_refused(store: Store, fields: dict[str, str]) -> None:
    execution = run(store)

    with pytest.raises(KitaruBackendError, match="contradicts itself"):
        ask(store, execution, question(execution, **fields))

    assert store.list_waits(execution.id) == []


# Parking


def test_parked_execution_waits_until_its_question_is_answered(store: Store) -> None:
    execution = run(store)
    waiting = park(store, question(execution), execution=execution)

    resolved = store.resolve_wait(execution.id, "wait:approve#1", answered(), now=LATER)

    assert (waiting.status, waiting.lease_owner) == (S.WAITING, None)
    assert resolved == only_wait(store, execution)
    assert resolved == question(
        execution, status=WaitStatus.ANSWERED, answer="true", resolved_at=LATER,
        resolved_by="me@here", resolved_via="cli",
    )  # fmt: skip
    assert store.get_execution(execution.id) == replace(
        waiting, status=S.PENDING, runnable_at=LATER
    )


def test_execution_that_was_answered_before_it_parks_is_pending_at_once(store: Store) -> None:
    execution = run(store)
    ask(store, execution, question(execution), question(execution, "wait:other#1"))
    store.resolve_wait(execution.id, "wait:approve#1", answered(), now=LATER)

    outcome = parked("wait:other#1", "wait:approve#1", reason="x", runnable_at=2 * NOW)
    commit_one(store, entry(execution, outcome=outcome))

    assert store.get_execution(execution.id) == replace(
        execution, status=S.PENDING, runnable_at=LATER, lease_owner=None, lease_expires_at=None
    )


def test_answers_that_the_flow_has_taken_up_do_not_keep_it_from_parking(store: Store) -> None:
    execution = run(store)
    ask(store, execution, question(execution))
    store.resolve_wait(execution.id, "wait:approve#1", answered(), now=LATER)

    waiting = park(store, question(execution, "wait:other#1"), execution=execution)

    assert waiting.status is S.WAITING


def test_execution_that_parks_for_what_it_never_asked_goes_on(store: Store) -> None:
    execution = run(store)

    commit_one(store, entry(execution, outcome=parked("wait:unknown#1")))

    assert store.find_pending_ids(now=LATER, limit=9) == [execution.id]


def test_parking_after_a_cancel_request_is_the_cancellation(store: Store) -> None:
    execution = run(store)
    store.request_cancel(execution.id, by="me", now=LATER)

    cancelled = park(store, question(execution), execution=execution)

    assert cancelled.status is S.CANCELLED
    assert only_wait(store, execution) == question(
        execution, status=WaitStatus.CLOSED, resolved_at=LATER
    )
    assert store.verify() == []


# Answering


@pytest.mark.parametrize("status", [S.PENDING, S.RUNNING])
def test_answer_is_kept_for_an_execution_that_is_not_parked(
    store: Store, status: ExecutionStatus
) -> None:
    execution = run(store)
    ask(store, execution, question(execution))
    if status is S.PENDING:
        store.reap(now=NOW, dead_owners=["owner-1"])
    before = store.get_execution(execution.id)

    store.resolve_wait(execution.id, "wait:approve#1", answered(), now=LATER)

    assert only_wait(store, execution).answer == "true"
    assert store.get_execution(execution.id) == before
    assert before.status is status


def test_gate_is_continued_without_an_answer(store: Store) -> None:
    execution = run(store)
    park(store, question(execution, schema=None, question=None), execution=execution)

    resolved = store.resolve_wait(execution.id, "wait:approve#1", answered(None), now=LATER)

    assert (resolved.status, resolved.answer) == (WaitStatus.ANSWERED, None)


def test_aborted_wait_wakes_its_execution(store: Store) -> None:
    execution = run(store)
    park(store, question(execution), execution=execution)

    resolved = store.resolve_wait(execution.id, "wait:approve#1", ABORTED, now=LATER)

    assert (resolved.status, resolved.answer) == (WaitStatus.ABORTED, None)
    assert store.get_execution(execution.id).status is S.PENDING


def test_overdue_question_is_still_answered_if_nobody_has_noticed(store: Store) -> None:
    execution = run(store)
    park(store, question(execution, wake_at=NOW), execution=execution)

    resolved = store.resolve_wait(execution.id, "wait:approve#1", answered(), now=LATER)

    assert resolved.status is WaitStatus.ANSWERED
    assert store.wake_due(now=LATER, limit=9) == []


def test_second_answer_is_refused_and_the_first_stays(store: Store) -> None:
    execution = run(store)
    park(store, question(execution), execution=execution)
    first = store.resolve_wait(execution.id, "wait:approve#1", answered(), now=NOW)

    with pytest.raises(KitaruStateError) as raised:
        store.resolve_wait(execution.id, "wait:approve#1", ABORTED, now=LATER)

    assert str(raised.value) == (
        f"wait 'approve-1' of execution {execution.id!r} cannot be aborted: it was answered by"
        f" 'me@here' via 'cli' at 2023-11-14 22:13:20 UTC. `kitaru executions get {execution.id}` shows"
        f" where the execution stands."
    )
    assert only_wait(store, execution) == first


def test_expired_question_cannot_be_answered(store: Store) -> None:
    execution = run(store)
    park(store, question(execution, wake_at=NOW), execution=execution)
    store.wake_due(now=LATER, limit=9)

    with pytest.raises(KitaruStateError, match=r"it expired at 2023-11-14 22:13:21 UTC"):
        store.resolve_wait(execution.id, "wait:approve#1", answered(), now=LATER)


def test_question_of_a_finished_execution_cannot_be_answered(store: Store) -> None:
    execution = run(store)
    commit_one(store, entry(execution, waits=(question(execution),), outcome=completed()))

    with pytest.raises(KitaruStateError, match=r"its execution ended at 2023-11-14 22:13:20 UTC"):
        store.resolve_wait(execution.id, "wait:approve#1", answered(), now=LATER)


def test_only_questions_can_be_answered(store: Store) -> None:
    execution, child = run(store), run(store)
    park(
        store,
        timer(execution, wake_at=LATER),
        child_wait(execution, child.id),
        execution=execution,
    )
    before = store.list_waits(execution.id)

    with pytest.raises(KitaruStateError, match="it is a timer"):
        store.resolve_wait(execution.id, "timer:sleep#1", answered(), now=NOW)
    with pytest.raises(KitaruStateError, match=f"it ends with execution '{child.id}'"):
        store.resolve_wait(execution.id, "result:child#1", answered(), now=NOW)

    assert store.list_waits(execution.id) == before


def test_wait_that_does_not_exist_cannot_be_answered(store: Store) -> None:
    execution = run(store)

    for exec_id in [execution.id, "nobody"]:
        with pytest.raises(KitaruNotFoundError, match=f"{exec_id}.*'wait:approve#1'"):
            store.resolve_wait(exec_id, "wait:approve#1", answered(), now=NOW)


@pytest.mark.parametrize("status", [WaitStatus.OPEN, WaitStatus.EXPIRED, WaitStatus.CLOSED])
def test_people_can_only_answer_or_abort(store: Store, status: WaitStatus) -> None:
    execution = run(store)
    park(store, question(execution), execution=execution)

    with pytest.raises(KitaruUsageError, match=f"'{status}'"):
        store.resolve_wait(execution.id, "wait:approve#1", replace(ABORTED, status=status), now=NOW)

    assert only_wait(store, execution) == question(execution)


# Open questions


def test_open_questions_of_a_project_are_paged_oldest_first(store: Store) -> None:
    first, second = run(store), run(store)
    stranger = run(store, project="other")
    ask(store, stranger, question(stranger))
    ask(store, second, question(second), question(second, "wait:b#1", created_at=NOW - 1))
    ask(store, first, question(first, "wait:b#1"), question(first, "wait:a#1"))
    ask(store, first, timer(first, wake_at=NOW), question(first, "wait:gone#1"))
    store.resolve_wait(first.id, "wait:gone#1", answered(), now=NOW)
    expected = [
        question(second, "wait:b#1", created_at=NOW - 1),
        question(first, "wait:a#1"),
        question(first, "wait:b#1"),
        question(second),
    ]

    pages: list[list[WaitRecord]] = []
    after: tuple[int, str, str] | None = None
    while page := store.list_open_waits("default", limit=3, after=after):
        pages.append(page)
        after = (page[-1].created_at, page[-1].exec_id, page[-1].position)

    assert pages == [expected[:3], expected[3:]]
    assert store.list_open_waits("nowhere", limit=3) == []


# Waking


def test_due_timers_are_answered_and_due_questions_expire(store: Store) -> None:
    sleeping, asking, early = run(store), run(store), run(store)
    park(store, timer(sleeping, wake_at=LATER), execution=sleeping)
    park(store, question(asking, wake_at=NOW), execution=asking)
    before = park(store, timer(early, wake_at=LATER + 1), execution=early)

    woken = store.wake_due(now=LATER, limit=9)

    assert woken == [asking.id, sleeping.id]
    assert only_wait(store, sleeping) == timer(
        sleeping, wake_at=LATER, status=WaitStatus.ANSWERED, resolved_at=LATER
    )
    assert only_wait(store, asking) == question(
        asking, wake_at=NOW, status=WaitStatus.EXPIRED, resolved_at=LATER
    )
    assert store.get_execution(early.id) == before
    for one in [sleeping, asking]:
        now_is = store.get_execution(one.id)
        assert (now_is.status, now_is.runnable_at) == (S.PENDING, LATER)
    assert store.wake_due(now=LATER, limit=9) == []


def test_execution_with_several_due_waits_is_woken_once(store: Store) -> None:
    execution = run(store)
    waits = [timer(execution, f"timer:sleep#{number}", wake_at=NOW + number) for number in range(3)]
    park(store, *waits, execution=execution)

    assert store.wake_due(now=LATER, limit=9) == [execution.id]
    assert {wait.status for wait in store.list_waits(execution.id)} == {WaitStatus.ANSWERED}


def test_most_overdue_waits_end_first(store: Store) -> None:
    executions = [run(store) for _ in range(3)]
    for number, execution in enumerate(executions):
        park(store, timer(execution, wake_at=NOW - number), execution=execution)

    assert store.wake_due(now=NOW, limit=2) == [executions[2].id, executions[1].id]
    assert store.wake_due(now=NOW, limit=2) == [executions[0].id]


def test_only_chosen_executions_are_woken(store: Store) -> None:
    chosen, other = run(store), run(store)
    for execution in [chosen, other]:
        park(store, timer(execution, wake_at=NOW), execution=execution)

    assert store.wake_due(now=LATER, limit=9, exec_ids=[]) == []
    assert store.wake_due(now=LATER, limit=9, exec_ids=[chosen.id, "x"]) == [chosen.id]
    assert only_wait(store, other).status is WaitStatus.OPEN


def test_running_execution_whose_timer_is_due_keeps_running(store: Store) -> None:
    execution = run(store)
    ask(store, execution, timer(execution, wake_at=NOW))

    assert store.wake_due(now=LATER, limit=9) == [execution.id]
    assert store.get_execution(execution.id) == execution
    assert only_wait(store, execution).status is WaitStatus.ANSWERED


def test_pending_executions_are_found_in_the_order_in_which_they_are_claimed(store: Store) -> None:
    late, soon = create(store, created_at=NOW + 5), create(store, created_at=NOW + 5)
    early = create(store)
    run(store)

    assert store.find_pending_ids(now=NOW + 4, limit=9) == [early.id]
    assert store.find_pending_ids(now=NOW + 5, limit=9) == [early.id, late.id, soon.id]
    assert store.find_pending_ids(now=NOW + 5, limit=2) == [early.id, late.id]
    assert store.find_pending_ids(now=NOW + 5, limit=9, exec_ids=[soon.id, "x"]) == [soon.id]
    claimed = store.claim_executions(claim(), now=NOW + 5, limit=9)
    assert [one.id for one in claimed] == [early.id, late.id, soon.id]
    assert store.find_pending_ids(now=NOW + 5, limit=9) == []


def test_statuses_of_those_that_exist_are_told(store: Store) -> None:
    pending, running, waiting = create(store), run(store), run(store)
    park(store, question(waiting), execution=waiting)

    statuses = store.get_statuses([pending.id, "nobody", running.id, waiting.id, pending.id])

    assert statuses == {
        pending.id: S.PENDING,
        running.id: S.RUNNING,
        waiting.id: S.WAITING,
    }
    assert store.get_statuses([]) == {}


def test_waits_and_calls_of_one_entry_are_one_commit(store: Store) -> None:
    execution = run(store)
    row = call("wait:approve#1")
    commit_one(store, entry(execution, row))

    with pytest.raises(KitaruStateError, match="has a result already"):
        commit_one(
            store,
            entry(
                execution,
                replace(row, fingerprint=b"other"),
                waits=(question(execution),),
                outcome=parked("wait:approve#1"),
            ),
        )

    assert store.list_waits(execution.id) == []
    assert store.get_execution(execution.id) == execution
