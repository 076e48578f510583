"""A store as one would write it without a database: dictionaries and the words of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from kitaru.errors import KitaruNotFoundError, KitaruStateError
from kitaru.model import (
    CallRecord,
    CallStatus,
    Claim,
    Committed,
    ExecutionRecord,
    ExecutionStatus,
    HeldLease,
    JournalEntry,
    NewExecution,
    Outcome,
    Resolution,
    WaitKind,
    WaitRecord,
    WaitStatus,
)

S = ExecutionStatus
W = WaitStatus

NOBODY = {"resolved_at": None, "resolved_by": None, "resolved_via": None, "answer": None}


class ModelStore:
    """What executions and calls become, step by step."""

    def __init__(self) -> None:
        self.executions: dict[str, ExecutionRecord] = {}
        self.calls: dict[str, dict[str, CallRecord]] = {}
        self.waits: dict[str, dict[str, WaitRecord]] = {}
        self.ended_claims: dict[str, tuple[int, ExecutionStatus]] = {}

    def get(self, exec_id: str) -> ExecutionRecord:
        if exec_id not in self.executions:
            raise KitaruNotFoundError
        return self.executions[exec_id]

    def set(self, execution: ExecutionRecord, **changes: object) -> ExecutionRecord:
        changed = replace(execution, **changes)
        self.executions[execution.id] = changed
        return changed

    def newest_first(self) -> list[ExecutionRecord]:
        return sorted(
            self.executions.values(), key=lambda one: (one.created_at, one.id), reverse=True
        )

    def create(self, new: NewExecution) -> Committed:
        asked = False
        if new.parent_id is not None:
            parent = self.get(new.parent_id)
            held = parent.status is S.RUNNING and parent.epoch == new.parent_epoch
            if new.parent_epoch is not None and not held:
                return Committed(held=False)
            asked = parent.cancel_requested_at is not None
        for one in self.executions.values():
            same_key = new.idempotency_key is not None and (
                one.project,
                one.flow,
                one.idempotency_key,
            ) == (new.project, new.flow, new.idempotency_key)
            same_place = new.parent_position is not None and (
                (one.parent_id, one.parent_position) == (new.parent_id, new.parent_position)
            )
            if same_key or same_place or one.id == new.id:
                return Committed(held=True, cancel_requested=asked, execution=one)
        if asked:
            return Committed(held=True, cancel_requested=True)
        if new.origin_id is not None and new.origin_id not in self.executions:
            raise KitaruNotFoundError(new.origin_id)
        self.executions[new.id] = ExecutionRecord(
            id=new.id, project=new.project, flow=new.flow, code_ref=new.code_ref,
            code_root=new.code_root, code_hash=new.code_hash, status=S.PENDING, epoch=0,
            lease_owner=None, lease_expires_at=None, inputs=new.inputs, result=None, failure=None,
            stack=new.stack, spec=new.spec, tags=new.tags, parent_id=new.parent_id,
            parent_position=new.parent_position, idempotency_key=new.idempotency_key,
            cancel_requested_at=None, cancel_requested_by=None, recoveries=0,
            max_recoveries=new.max_recoveries, retries_left=new.retries_left,
            runnable_at=new.created_at, created_at=new.created_at, started_at=None, ended_at=None,
            status_reason=None, origin_id=new.origin_id, replay_plan=new.replay_plan,
        )  # fmt: skip
        self.calls[new.id] = {row.position: row for row in new.calls}
        self.waits[new.id] = {}
        if new.claim is not None:
            self._claim(self.executions[new.id], new.claim, new.created_at)
        if new.parent_call is not None and new.parent_id is not None:
            self._record(new.parent_id, new.parent_call)
        return Committed(held=True, execution=self.executions[new.id], created=True)

    def write(self, entry: JournalEntry) -> Committed:
        execution = self.executions.get(entry.exec_id)
        if execution is None or execution.status is not S.RUNNING or execution.epoch != entry.epoch:
            # The end of a claim may come again, because its runner has not learnt that it was written.
            mine = entry.outcome and (entry.epoch, entry.outcome.status)
            if execution is None or mine is None or self.ended_claims.get(execution.id) != mine:
                return Committed(held=False)
            asked = execution.cancel_requested_at is not None
            return Committed(held=True, cancel_requested=asked)
        for call in entry.calls:
            self._record(entry.exec_id, call)
        for wait in entry.waits:
            self._ask(wait)
        asked = execution.cancel_requested_at is not None
        if entry.outcome is not None:
            self.ended_claims[execution.id] = (entry.epoch, entry.outcome.status)
            self._end(execution, entry.outcome)
        return Committed(held=True, cancel_requested=asked)

    def _record(self, exec_id: str, call: CallRecord) -> None:
        found = self.calls[exec_id].get(call.position)
        if found is None or not found.status.is_recorded:
            self.calls[exec_id][call.position] = call
        elif call.status.is_recorded and (found.status, found.output) != (call.status, call.output):
            raise KitaruStateError

    def _end(self, execution: ExecutionRecord, outcome: Outcome) -> None:
        status, failure, ended_at = outcome.status, outcome.failure, outcome.ended_at
        retries_left = execution.retries_left
        if status in {S.PENDING, S.WAITING}:
            if execution.cancel_requested_at is not None:
                status, ended_at = S.CANCELLED, ended_at or execution.cancel_requested_at
            elif failure is not None:
                retries_left = max(0, retries_left - 1)
            failure = None
        self.set(
            execution, status=status, result=outcome.result, failure=failure, ended_at=ended_at,
            status_reason=outcome.reason, retries_left=retries_left, lease_owner=None,
            lease_expires_at=None, runnable_at=outcome.runnable_at or execution.runnable_at,
        )  # fmt: skip
        if status is S.WAITING:
            self._wake_unless_open(execution.id, outcome.waits_for)
        self._end_waits([execution.id])
        self._reopen(execution.id, outcome.reopen)

    def all_waits(self) -> list[WaitRecord]:
        return [wait for waits in self.waits.values() for wait in waits.values()]

    def is_over(self, exec_id: str | None) -> bool:
        found = self.executions.get(exec_id or "")
        return found is None or found.status.is_finished

    def _set_wait(self, wait: WaitRecord, **changes: object) -> WaitRecord:
        changed = replace(wait, **changes)
        self.waits[wait.exec_id][wait.position] = changed
        return changed

    def _ask(self, wait: WaitRecord) -> None:
        found = self.waits[wait.exec_id].get(wait.position)
        if wait.kind is WaitKind.CHILD and wait.status is W.OPEN and self.is_over(wait.child_id):
            child = self.executions.get(wait.child_id or "")
            moment = max(wait.created_at, child.ended_at or 0 if child else 0)
            wait = replace(wait, status=W.ANSWERED, resolved_at=moment)
        if found is not None and found.status in {W.ANSWERED, W.ABORTED, W.EXPIRED}:
            if wait.problem is None and wait.kind is not WaitKind.CHILD:
                return
        elif found is not None and found.status is W.OPEN:
            wait = replace(wait, created_at=found.created_at)
        self._set_wait(wait)

    def _wake(self, exec_id: str, now: int) -> None:
        one = self.executions[exec_id]
        if one.status is S.WAITING:
            self.set(one, status=S.PENDING, status_reason=None, runnable_at=now)

    def _wake_unless_open(self, exec_id: str, positions: Sequence[str]) -> None:
        for position in positions:
            wait = self.waits[exec_id].get(position)
            if wait is None or wait.resolved_at is not None:
                moment = wait.resolved_at if wait is not None else None
                self._wake(exec_id, moment or self.executions[exec_id].started_at or 0)

    def _end_waits(self, exec_ids: Sequence[str]) -> None:
        over = {one: self.executions[one].ended_at for one in exec_ids if self.is_over(one)}
        for wait in self.all_waits():
            if wait.status is W.OPEN and wait.exec_id in over:
                self._set_wait(wait, status=W.CLOSED, resolved_at=over[wait.exec_id])
        for wait in self.all_waits():
            if wait.status is W.OPEN and wait.child_id in over:
                moment = over[wait.child_id]
                self._set_wait(wait, status=W.ANSWERED, resolved_at=moment)
                self._wake(wait.exec_id, moment or 0)

    def resolve(self, exec_id: str, position: str, resolution: Resolution, now: int) -> WaitRecord:
        found = self.waits.get(exec_id, {}).get(position)
        if found is None:
            raise KitaruNotFoundError
        if found.status is not W.OPEN or found.kind is not WaitKind.INPUT:
            raise KitaruStateError
        self._wake(exec_id, now)
        return self._set_wait(
            found, status=resolution.status, answer=resolution.answer, resolved_at=now,
            resolved_by=resolution.by, resolved_via=resolution.via,
        )  # fmt: skip

    def wake_due(self, now: int, limit: int) -> list[str]:
        due = [
            (wait.wake_at, wait.exec_id, wait.position)
            for wait in self.all_waits()
            if wait.status is W.OPEN and wait.wake_at is not None and wait.wake_at <= now
        ]
        ended = sorted(due)[:limit]
        for _, exec_id, position in ended:
            wait = self.waits[exec_id][position]
            status = W.ANSWERED if wait.kind is WaitKind.TIMER else W.EXPIRED
            self._set_wait(wait, status=status, resolved_at=now)
            self._wake(exec_id, now)
        return list(dict.fromkeys(exec_id for _, exec_id, _ in ended))

    def pending_ids(self, now: int) -> list[str]:
        pending = [one for one in self.executions.values() if one.status is S.PENDING]
        pending.sort(key=lambda one: (one.runnable_at, one.id))
        return [one.id for one in pending if one.runnable_at <= now]

    def _reopen(self, exec_id: str, positions: Sequence[str]) -> None:
        for position in positions:
            call = self.calls[exec_id].get(position)
            if call is not None and call.status is CallStatus.FAILED:
                self.calls[exec_id][position] = replace(
                    call, status=CallStatus.PENDING, failure=None, ended_at=None
                )
                self._reopen_wait(exec_id, position)

    def _reopen_wait(self, exec_id: str, position: str) -> None:
        wait = self.waits[exec_id].get(position)
        if wait is None or (wait.kind is WaitKind.CHILD and self.is_over(wait.child_id)):
            return
        wake_at = wait.wake_at if wait.kind is WaitKind.TIMER else None
        self._set_wait(wait, status=W.OPEN, problem=None, wake_at=wake_at, **NOBODY)

    def claim(self, claim: Claim, now: int, limit: int) -> list[ExecutionRecord]:
        pending = [one for one in self.executions.values() if one.status is S.PENDING]
        pending.sort(key=lambda one: (one.runnable_at, one.id))
        ripe = takewhile(lambda one: one.runnable_at <= now, pending)
        return [self._claim(one, claim, now) for one, _ in zip(ripe, range(limit), strict=False)]

    def _claim(self, execution: ExecutionRecord, claim: Claim, now: int) -> ExecutionRecord:
        return self.set(
            execution, status=S.RUNNING, epoch=execution.epoch + 1, lease_owner=claim.owner,
            lease_expires_at=claim.lease_expires_at, status_reason=None,
            started_at=now if execution.started_at is None else execution.started_at,
        )  # fmt: skip

    def renew(
        self, owner: str, leases: Sequence[tuple[str, int]], lease_expires_at: int
    ) -> set[HeldLease]:
        held: set[HeldLease] = set()
        for exec_id, epoch in leases:
            one = self.executions.get(exec_id)
            if one is not None and (one.lease_owner, one.epoch) == (owner, epoch):
                self.set(one, lease_expires_at=lease_expires_at)
                held.add(HeldLease(exec_id, epoch, one.cancel_requested_at is not None))
        return held

    def reap(self, now: int, dead_owners: Sequence[str]) -> list[ExecutionRecord]:
        reaped: list[ExecutionRecord] = []
        for one in list(self.executions.values()):
            if one.lease_owner is None or one.lease_expires_at is None:
                continue
            if one.lease_expires_at >= now and one.lease_owner not in dead_owners:
                continue
            losses = one.recoveries + 1
            if one.cancel_requested_at is not None:
                end = {"status": S.CANCELLED, "ended_at": now, "status_reason": None}
            elif losses > one.max_recoveries:
                reason = (
                    f"its runner was lost {losses} times, more often than `max_recoveries`"
                    f" ({one.max_recoveries}) allows"
                )
                end = {"status": S.FAILED, "ended_at": now, "status_reason": reason}
            else:
                reason = "its runner was lost"
                end = {"status": S.PENDING, "runnable_at": now, "status_reason": reason}
            reaped.append(
                self.set(one, recoveries=losses, lease_owner=None, lease_expires_at=None, **end)
            )
        self._end_waits([one.id for one in reaped])
        return sorted(reaped, key=lambda one: (one.created_at, one.id))

    def retry(self, exec_id: str, reopen: Sequence[str], now: int) -> ExecutionRecord:
        execution = self.get(exec_id)
        if execution.status is not S.FAILED:
            raise KitaruStateError
        self._reopen(exec_id, reopen)
        return self.set(
            execution, status=S.PENDING, failure=None, ended_at=None, status_reason=None,
            cancel_requested_at=None, cancel_requested_by=None, recoveries=0, runnable_at=now,
        )  # fmt: skip

    def descendants(self, exec_id: str) -> list[ExecutionRecord]:
        children = [one for one in self.executions.values() if one.parent_id == exec_id]
        return [self.get(exec_id), *(each for one in children for each in self.descendants(one.id))]

    def cancel(self, exec_id: str, by: str, now: int) -> ExecutionRecord:
        if self.get(exec_id).status.is_finished:
            raise KitaruStateError
        family = self.descendants(exec_id)
        for one in family:
            if one.status.is_finished or one.cancel_requested_at is not None:
                continue
            asked = self.set(one, cancel_requested_at=now, cancel_requested_by=by)
            if one.status is not S.RUNNING:
                self.set(asked, status=S.CANCELLED, ended_at=now, status_reason=None)
        self._end_waits([one.id for one in family if not one.status.is_finished])
        return self.get(exec_id)

    def delete(self, exec_id: str) -> None:
        doomed = self.descendants(exec_id)
        above = self.get(exec_id)
        related = {one.id for one in doomed}
        while above.parent_id is not None:
            above = self.get(above.parent_id)
            related.add(above.id)
            if not above.status.is_finished:
                raise KitaruStateError
        if not all(one.status.is_finished for one in doomed):
            raise KitaruStateError
        for one in self.executions.values():
            if one.origin_id in related and not one.status.is_finished:
                raise KitaruStateError
        for one in doomed:
            del self.executions[one.id]
            del self.calls[one.id]
            del self.waits[one.id]
