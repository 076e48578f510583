"""What each duty does on a store, pass by pass."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from kitaru.attendant import Dispatcher, Expiry, Reaper, Timers
from kitaru.engine.owner import current_owner
from kitaru.errors import KitaruBackendError
from kitaru.fleet import NO_CODE
from kitaru.model import Claim, ExecutionRecord, ExecutionStatus, Outcome, WaitStatus
from kitaru.store import Store, open_store
from kitaru.testing import FakeClock
from tests.store.records import LEASE, NOW, commit_one, create, entry, question, run, timer
from tests.store.test_attendance import worker

S = ExecutionStatus


class Starts:
    """A stack that only remembers what it was to start."""

    name = "local"

    def __init__(self, *, broken: bool = False) -> None:
        self.started: list[str] = []
        self.running = 0
        self.broken = broken
        self.killed: list[str] = []

    def launch(self, execution: ExecutionRecord) -> int:
        if self.broken:
            raise KitaruBackendError("no more processes")
        self.started.append(execution.id)
        self.running += 1
        return len(self.started)

    def take_killed(self) -> list[str]:
        killed, self.killed = self.killed, []
        return killed

    def count(self) -> int:
        return self.running


def owned_by(store: Store, owner: str, *, expires_at: int = NOW + LEASE) -> str:
    execution = create(store)
    claim = Claim(owner=owner, lease_expires_at=expires_at)
    store.claim_executions(claim, now=NOW, limit=1, exec_ids=[execution.id])
    return execution.id


def status(store: Store, exec_id: str) -> ExecutionStatus:
    return store.get_execution(exec_id).status


def sleeping(store: Store, *, until: int) -> str:
    execution = run(store)
    wait = timer(execution, wake_at=until)
    outcome = Outcome(status=S.WAITING, waits_for=(wait.position,))
    commit_one(store, entry(execution, waits=(wait,), outcome=outcome))
    return execution.id


def asking(store: Store, *, until: int) -> str:
    execution = run(store)
    wait = question(execution, wake_at=until)
    outcome = Outcome(status=S.WAITING, waits_for=(wait.position,))
    commit_one(store, entry(execution, waits=(wait,), outcome=outcome))
    return execution.id


def past_its_patience(reaper: Reaper, clock: FakeClock) -> None:
    """Have a reaper begin, and go on until it trusts expired leases."""
    for _ in range(4):
        reaper.run_once()
        clock.advance(1.0)
    reaper.run_once()


def dead_owner() -> str:
    """Return a process of this machine that has just ended, as its leases name it."""
    mine = current_owner()
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return str(replace(mine, pid=process.pid, nonce="dead"))


def test_reaper_takes_back_at_once_what_a_dead_process_of_this_machine_had(
    store: Store, clock: FakeClock
) -> None:
    lost = owned_by(store, dead_owner())
    kept = owned_by(store, "elsewhere/1/1.0/x")

    has_more = Reaper(store=store, clock=clock).run_once()

    assert (status(store, lost), status(store, kept), has_more) == (S.PENDING, S.RUNNING, False)
    assert store.get_execution(lost).recoveries == 1


def test_reaper_takes_back_what_nobody_has_renewed_but_its_own(
    store: Store, clock: FakeClock
) -> None:
    lost = owned_by(store, "elsewhere/1/1.0/x", expires_at=NOW - 1)
    mine = owned_by(store, str(current_owner()), expires_at=NOW - 1)

    past_its_patience(Reaper(store=store, clock=clock, held=lambda: [mine]), clock)

    assert (status(store, lost), status(store, mine)) == (S.PENDING, S.RUNNING)


def test_reaper_beside_a_server_only_takes_what_the_dead_of_this_machine_had(
    store: Store, clock: FakeClock
) -> None:
    kept = owned_by(store, "elsewhere/1/1.0/x", expires_at=NOW - 1)
    reaper = Reaper(store=store, clock=clock, takes_expired=False)

    past_its_patience(reaper, clock)
    lost = owned_by(store, dead_owner())
    reaper.run_once()

    assert (status(store, lost), status(store, kept)) == (S.PENDING, S.RUNNING)


def test_reaper_says_that_there_is_more_after_a_full_batch(store: Store, clock: FakeClock) -> None:
    for _ in range(3):
        owned_by(store, "elsewhere/1/1.0/x", expires_at=NOW - 1)
    reaper = Reaper(store=store, clock=clock, batch=2, patience_seconds=0.0)

    assert [reaper.run_once(), reaper.run_once()] == [True, False]
    assert store.list_running() == []


def test_reaper_that_has_just_begun_gives_runners_time_to_renew(
    store: Store, clock: FakeClock
) -> None:
    silent = owned_by(store, "elsewhere/1/1.0/x", expires_at=NOW - 1)
    gone = owned_by(store, dead_owner())

    Reaper(store=store, clock=clock).run_once()

    assert (status(store, silent), status(store, gone)) == (S.RUNNING, S.PENDING)


def test_dispatcher_of_one_project_leaves_the_others(store: Store, clock: FakeClock) -> None:
    stack = Starts()
    create(store, project="other")
    own = create(store)

    Dispatcher(
        store=store, clock=clock, stack=stack, project="default", grace_seconds=0.0
    ).run_once()

    assert stack.started == [own.id]


def test_process_is_started_for_what_a_worker_cannot_run(store: Store, clock: FakeClock) -> None:
    stack = Starts()
    store.announce_worker(worker())
    given_back = run(store)
    outcome = Outcome(status=S.PENDING, reason=NO_CODE, runnable_at=NOW)
    commit_one(store, entry(given_back, outcome=outcome))

    Dispatcher(store=store, clock=clock, stack=stack, grace_seconds=0.0).run_once()

    assert stack.started == [given_back.id]


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_reaper_gives_runners_time_to_renew_after_a_pause(
    store: Store, clock: FakeClock, jump: float
) -> None:
    reaper = Reaper(store=store, clock=clock)
    past_its_patience(reaper, clock)
    clock.advance(jump)
    exec_id = owned_by(store, "elsewhere/1/1.0/x", expires_at=clock.now() - 1)
    gone = owned_by(store, dead_owner())

    reaper.run_once()
    after_the_pause = status(store, exec_id), status(store, gone)
    for _ in range(4):
        clock.advance(1.0)
        reaper.run_once()

    assert after_the_pause == (S.RUNNING, S.PENDING)
    assert status(store, exec_id) is S.PENDING


def test_timers_wake_what_is_due_and_leave_questions(store: Store, clock: FakeClock) -> None:
    due, later = sleeping(store, until=NOW), sleeping(store, until=NOW + 1)
    asked = asking(store, until=NOW)

    Timers(store=store, clock=clock).run_once()

    assert [status(store, one) for one in (due, later, asked)] == [S.PENDING, S.WAITING, S.WAITING]


def test_expiry_ends_questions_and_leaves_timers(store: Store, clock: FakeClock) -> None:
    asked, slept = asking(store, until=NOW), sleeping(store, until=NOW)

    Expiry(store=store, clock=clock).run_once()

    assert (status(store, asked), status(store, slept)) == (S.PENDING, S.WAITING)
    assert store.list_waits(asked)[0].status is WaitStatus.EXPIRED


@pytest.mark.parametrize("duty", [Timers, Expiry])
def test_full_batch_of_due_waits_means_that_there_may_be_more(
    store: Store, clock: FakeClock, duty: type[Timers] | type[Expiry]
) -> None:
    make = sleeping if duty is Timers else asking
    for _ in range(3):
        make(store, until=NOW)
    at_work = duty(store=store, clock=clock, batch=2)

    assert [at_work.run_once(), at_work.run_once()] == [True, False]


def test_dispatcher_starts_a_process_for_what_nobody_takes_up(
    store: Store, clock: FakeClock
) -> None:
    stack = Starts()
    dispatcher = Dispatcher(store=store, clock=clock, stack=stack, grace_seconds=0.5)
    pending = create(store)

    dispatcher.run_once()
    within_the_grace = list(stack.started)
    clock.advance(0.5)
    dispatcher.run_once()
    dispatcher.run_once()

    assert (within_the_grace, stack.started) == ([], [pending.id])


def test_dispatcher_tries_again_after_ever_longer_pauses(store: Store, clock: FakeClock) -> None:
    stack = Starts()
    dispatcher = Dispatcher(
        store=store, clock=clock, stack=stack, grace_seconds=0.0, retry_seconds=10.0
    )
    pending = create(store)
    at: list[int] = []

    for second in range(100):
        before = len(stack.started)
        dispatcher.run_once()
        stack.running = 0
        if len(stack.started) > before:
            at.append(second)
        clock.advance(1.0)

    assert at == [0, 10, 30, 70]
    assert set(stack.started) == {pending.id}


def test_process_that_was_killed_before_its_claim_is_replaced_at_once_a_few_times(
    store: Store, clock: FakeClock
) -> None:
    stack = Starts()
    dispatcher = Dispatcher(store=store, clock=clock, stack=stack, grace_seconds=0.0)
    pending = create(store)

    for _ in range(10):
        dispatcher.run_once()
        stack.killed, stack.running = [pending.id], 0

    assert stack.started == [pending.id] * 5


def test_dispatcher_starts_no_more_processes_than_it_may(store: Store, clock: FakeClock) -> None:
    stack = Starts()
    dispatcher = Dispatcher(store=store, clock=clock, stack=stack, grace_seconds=0.0, most=2)
    first, second, third = (create(store).id for _ in range(3))

    dispatcher.run_once()
    dispatcher.run_once()
    while_full = list(stack.started)
    stack.running = 1
    dispatcher.run_once()

    assert (while_full, stack.started) == ([first, second], [first, second, third])


def test_dispatcher_leaves_to_a_worker_what_it_serves_until_the_worker_is_gone(
    store: Store, clock: FakeClock
) -> None:
    stack = Starts()
    dispatcher = Dispatcher(store=store, clock=clock, stack=stack, grace_seconds=0.0)
    pending = create(store)
    store.announce_worker(worker())
    store.announce_worker(worker(dead_owner(), code_keys=("/src|flows:other",)))

    dispatcher.run_once()
    while_it_lives = list(stack.started)
    known = [one.owner for one in store.list_workers()]
    clock.advance(11.0)
    dispatcher.run_once()

    assert (while_it_lives, known, stack.started) == ([], ["worker-1"], [pending.id])


def test_launch_that_fails_is_tried_again_later(store: Store, clock: FakeClock) -> None:
    stack = Starts(broken=True)
    dispatcher = Dispatcher(
        store=store, clock=clock, stack=stack, grace_seconds=0.0, retry_seconds=10.0
    )
    pending = create(store)

    with pytest.raises(KitaruBackendError):
        dispatcher.run_once()
    stack.broken = False
    dispatcher.run_once()
    at_once = list(stack.started)
    clock.advance(10.0)
    dispatcher.run_once()

    assert (at_once, stack.started) == ([], [pending.id])


def test_two_attendants_do_nothing_twice(store: Store, store_url: str, clock: FakeClock) -> None:
    count = 60
    slept = {sleeping(store, until=NOW) for _ in range(count)}
    lost = {owned_by(store, "elsewhere/1/1.0/x", expires_at=NOW - 1) for _ in range(count)}
    stacks = Starts(), Starts()

    def attend(stack: Starts, barrier: threading.Barrier) -> None:
        mine = open_store(store_url)
        try:
            duties = (
                Timers(store=mine, clock=clock, batch=7),
                Reaper(store=mine, clock=clock, batch=7, patience_seconds=0.0),
                Dispatcher(store=mine, clock=clock, stack=stack, grace_seconds=0.0, most=7),
            )
            barrier.wait()
            for _ in range(60):
                for duty in duties:
                    duty.run_once()
                stack.running = 0
        finally:
            mine.close()

    together(*(lambda barrier, stack=stack: attend(stack, barrier) for stack in stacks))

    started = stacks[0].started + stacks[1].started
    assert sorted(started) == sorted(slept | lost)
    assert {store.get_execution(one).recoveries for one in lost} == {1}


def together(*jobs: Callable[[threading.Barrier], None]) -> None:
    barrier = threading.Barrier(len(jobs))
    threads = [threading.Thread(target=job, args=(barrier,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
