"""A store and its model, taken through the same random history, must always tell the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kitaru.errors import KitaruError
from kitaru.model import (
    CallStatus,
    Committed,
    ExecutionFilter,
    ExecutionStatus,
    JournalEntry,
    NewExecution,
    Outcome,
    Resolution,
    WaitKind,
    WaitRecord,
    WaitStatus,
)
from kitaru.store import Store
from kitaru.store.sqlite import SQLiteStore
from tests.store.model_store import ModelStore
from tests.store.records import (
    ABORTED,
    FAILURE,
    INLINE,
    LEASE,
    NOW,
    SECOND,
    answered,
    attempt,
    call,
    claim,
    ended,
    log_line,
    new_execution,
    parked,
)

S = ExecutionStatus

OWNERS = st.sampled_from(["owner-1", "owner-2"])
POSITIONS = st.sampled_from(["a#1", "b#1", "c#1"])
CALL_STATUSES = st.sampled_from(CallStatus)
# Of a runner that is up to date, more often than not.
LAGS = st.sampled_from([0, 0, 0, 0, 1])


class StoreMachine(RuleBasedStateMachine):
    """Creates, runs, parks, wakes, loses, retries, replays, cancels and deletes executions."""

    executions: Bundle[str] = Bundle("executions")

    def __init__(self) -> None:
        super().__init__()
        self.model = ModelStore()
        self.folder = Path(tempfile.mkdtemp())
        self.store: Store = SQLiteStore(self.folder / "kitaru.db")
        self.now = NOW
        self.created = 0

    def teardown(self) -> None:
        assert self.store.verify() == []
        self.store.close()
        shutil.rmtree(self.folder)

    def same(self, real: Callable[[], Any], model: Callable[[], Any]) -> None:
        """Let both do the same; they give the same or refuse for the same reason."""
        outcomes: list[Any] = []
        for act in (real, model):
            try:
                outcomes.append(act())
            except KitaruError as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]

    def write(self, *writes: NewExecution | JournalEntry) -> None:
        def on_model() -> list[Committed]:
            model = self.model
            before = (
                dict(model.executions),
                {key: dict(rows) for key, rows in model.calls.items()},
                {key: dict(rows) for key, rows in model.waits.items()},
            )
            try:
                return [
                    model.create(one) if isinstance(one, NewExecution) else model.write(one)
                    for one in writes
                ]
            except KitaruError:
                model.executions, model.calls, model.waits = before
                raise

        self.same(lambda: self.store.commit(writes), on_model)

    def epoch_of(self, exec_id: str, lag: int) -> int:
        found = self.model.executions.get(exec_id)
        return (found.epoch if found else 1) - lag

    @rule(seconds=st.sampled_from([0, 1, 5, 20]))
    def let_time_pass(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(
        target=executions,
        owner=st.none() | OWNERS,
        key=st.none() | st.sampled_from(["k1", "k2"]),
        max_recoveries=st.integers(0, 2),
        retries_left=st.integers(0, 2),
    )
    def create(
        self, owner: str | None, key: str | None, max_recoveries: int, retries_left: int
    ) -> str:
        self.created += 1
        new = new_execution(
            id=f"x{self.created}", claim=owner and claim(owner, self.now), created_at=self.now,
            idempotency_key=key, max_recoveries=max_recoveries, retries_left=retries_left,
        )  # fmt: skip
        self.write(new)
        return new.id

    @rule(
        target=executions,
        parent_id=executions,
        position=POSITIONS,
        lag=st.none() | LAGS,
        is_recorded=st.booleans(),
    )
    def create_child(
        self, parent_id: str, position: str, lag: int | None, *, is_recorded: bool
    ) -> str:
        self.created += 1
        row = call(position, status=CallStatus.RUNNING)
        new = new_execution(
            id=f"x{self.created}",
            parent_id=parent_id,
            parent_position=position,
            parent_epoch=None if lag is None else self.epoch_of(parent_id, lag),
            parent_call=row if is_recorded and lag is not None else None,
            created_at=self.now,
        )
        self.write(new)
        return new.id

    @rule(owner=OWNERS, limit=st.integers(1, 3))
    def claim(self, owner: str, limit: int) -> None:
        mine = claim(owner, self.now)
        self.same(
            lambda: self.store.claim_executions(mine, now=self.now, limit=limit),
            lambda: self.model.claim(mine, self.now, limit),
        )

    @rule(
        exec_id=executions,
        positions=st.lists(POSITIONS, max_size=3),
        status=CALL_STATUSES,
        lag=LAGS,
        outcome=st.none() | st.sampled_from(ExecutionStatus),
        fails=st.booleans(),
        reopen=st.lists(POSITIONS, max_size=2),
    )
    def commit(
        self, exec_id: str, positions: list[str], status: CallStatus, lag: int,
        outcome: ExecutionStatus | None, reopen: list[str], *, fails: bool,
    ) -> None:  # fmt: skip
        ending = None
        if outcome is ExecutionStatus.PENDING:
            ending = Outcome(
                status=outcome, failure=FAILURE if fails else None, reopen=tuple(reopen),
                reason="released", runnable_at=self.now + SECOND if fails else None,
            )  # fmt: skip
        elif outcome is not None and outcome.is_finished:
            ending = ended(outcome, self.now)
        epoch = self.epoch_of(exec_id, lag)
        calls = tuple(call(position, status=status, epoch=max(epoch, 0)) for position in positions)
        self.write(JournalEntry(exec_id=exec_id, epoch=epoch, calls=calls, outcome=ending))

    @rule(
        exec_id=executions,
        position=POSITIONS,
        kind=st.sampled_from(WaitKind),
        seconds=st.sampled_from([0, 5, 20]),
        expires=st.booleans(),
        problem=st.sampled_from([None, None, "no"]),
        is_over=st.booleans(),
        child_id=executions,
        parks_for=st.none() | st.lists(POSITIONS, max_size=1),
        lag=LAGS,
    )
    def ask(
        self, exec_id: str, position: str, kind: WaitKind, seconds: int, problem: str | None,
        child_id: str, parks_for: list[str] | None, lag: int, *, expires: bool, is_over: bool,
    ) -> None:  # fmt: skip
        # Of one that runs, if any does: nobody else may ask.
        running = [one.id for one in self.model.newest_first() if one.status is S.RUNNING]
        exec_id = exec_id if exec_id in running or not running else running[0]
        fields: dict[str, Any] = {"created_at": self.now}
        if kind is WaitKind.TIMER or expires:
            fields["wake_at"] = self.now + seconds * SECOND
        if kind is WaitKind.INPUT:
            fields["problem"] = problem
        elif kind is WaitKind.CHILD:
            fields["child_id"] = child_id
        elif is_over:
            fields |= {"status": WaitStatus.ANSWERED, "resolved_at": self.now}
        wait = WaitRecord(
            exec_id=exec_id, position=position, wait_id=position, name="x", kind=kind, **fields
        )
        outcome = None if parks_for is None else parked(position, *parks_for, reason="waits")
        epoch = self.epoch_of(exec_id, lag)
        self.write(JournalEntry(exec_id=exec_id, epoch=epoch, waits=(wait,), outcome=outcome))

    @rule(exec_id=executions, position=POSITIONS, resolution=st.sampled_from([answered(), ABORTED]))
    def resolve(self, exec_id: str, position: str, resolution: Resolution) -> None:
        for wait in self.model.all_waits():
            if wait.status is WaitStatus.OPEN and wait.position == position:
                exec_id = wait.exec_id
        self.same(
            lambda: self.store.resolve_wait(exec_id, position, resolution, now=self.now),
            lambda: self.model.resolve(exec_id, position, resolution, self.now),
        )

    @rule(limit=st.integers(1, 3))
    def wake_due(self, limit: int) -> None:
        self.same(
            lambda: self.store.wake_due(now=self.now, limit=limit),
            lambda: self.model.wake_due(self.now, limit),
        )

    @rule(target=executions, origin_id=executions, position=st.none() | POSITIONS)
    def replay(self, origin_id: str, position: str | None) -> str:
        self.created += 1
        row = call(position or "", status=CallStatus.OVERRIDDEN, epoch=0)
        new = new_execution(
            id=f"x{self.created}", origin_id=origin_id, replay_plan={"from": position},
            calls=() if position is None else (row,), created_at=self.now,
        )  # fmt: skip
        self.write(new)
        return new.id

    @rule(first=executions, second=executions, position=POSITIONS, lag=LAGS)
    def commit_together(self, first: str, second: str, position: str, lag: int) -> None:
        row = call(position, epoch=0)
        self.created += 1
        self.write(
            JournalEntry(exec_id=first, epoch=self.epoch_of(first, lag), calls=(row,)),
            new_execution(id=f"x{self.created}", created_at=self.now),
            JournalEntry(exec_id=second, epoch=self.epoch_of(second, 0), calls=(row,)),
            JournalEntry(
                exec_id=first, epoch=self.epoch_of(first, 0),
                outcome=Outcome(status=ExecutionStatus.COMPLETED, result=INLINE, ended_at=self.now),
            ),
            JournalEntry(exec_id=first, epoch=self.epoch_of(first, 0), calls=(row,)),
        )  # fmt: skip

    @rule(owner=OWNERS, exec_ids=st.lists(executions, max_size=3), lag=LAGS)
    def renew(self, owner: str, exec_ids: list[str], lag: int) -> None:
        leases = [(exec_id, self.epoch_of(exec_id, lag)) for exec_id in exec_ids]
        until = self.now + LEASE
        self.same(
            lambda: set(self.store.renew_leases(owner, leases, lease_expires_at=until)),
            lambda: self.model.renew(owner, leases, until),
        )

    @rule(dead_owners=st.lists(OWNERS, max_size=1))
    def reap(self, dead_owners: list[str]) -> None:
        self.same(
            lambda: self.store.reap(now=self.now, dead_owners=dead_owners),
            lambda: self.model.reap(self.now, dead_owners),
        )

    @rule(exec_id=executions, reopen=st.lists(POSITIONS, max_size=3))
    def retry(self, exec_id: str, reopen: list[str]) -> None:
        self.same(
            lambda: self.store.retry_execution(exec_id, reopen=reopen, now=self.now),
            lambda: self.model.retry(exec_id, reopen, self.now),
        )

    @rule(exec_id=executions, by=st.sampled_from(["me", "you"]))
    def cancel(self, exec_id: str, by: str) -> None:
        self.same(
            lambda: self.store.request_cancel(exec_id, by=by, now=self.now),
            lambda: self.model.cancel(exec_id, by, self.now),
        )

    @rule(exec_id=executions)
    def delete(self, exec_id: str) -> None:
        self.same(lambda: self.store.delete_execution(exec_id), lambda: self.model.delete(exec_id))

    @rule(exec_id=executions)
    def watch(self, exec_id: str) -> None:
        # Attempts and logs are kept for as long as their execution, and disturb nothing.
        self.store.append_logs([log_line(exec_id)])
        entry = JournalEntry(
            exec_id=exec_id, epoch=self.epoch_of(exec_id, 0), attempts=(attempt(),)
        )
        self.same(lambda: self.store.commit([entry]), lambda: [self.model.write(entry)])

    @invariant()
    def tells_the_same(self) -> None:
        listed = self.store.list_executions(ExecutionFilter(project="default"), limit=1000)
        assert listed == self.model.newest_first()
        for execution in listed:
            expected = list(self.model.calls[execution.id].values())
            assert self.store.list_calls(execution.id) == expected
            waits = list(self.model.waits[execution.id].values())
            waits.sort(key=lambda wait: (wait.created_at, wait.position))
            assert self.store.list_waits(execution.id) == waits
        pending = self.model.pending_ids(self.now)
        assert self.store.find_pending_ids(now=self.now, limit=1000) == pending
        statuses = {execution.id: execution.status for execution in listed}
        assert self.store.get_statuses(list(statuses)) == statuses


@pytest.mark.slow
def test_store_does_what_its_model_does() -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
