"""The store's contract, fulfilled over any SQL database."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from kitaru.clock import Clock
from kitaru.figures import FlowFigures, Load
from kitaru.fleet import ClaimFilter, WorkerRecord
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    Bundle,
    CallRecord,
    Claim,
    Committed,
    EventRecord,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
    HeldLease,
    LogLine,
    MetadataRecord,
    NewExecution,
    Resolution,
    WaitKind,
    WaitRecord,
    Write,
    adopt_created,
)
from kitaru.store import archive, attendance, executions, journal, load, logs, statistics, waits
from kitaru.store.contract import ANY, NO_LIMIT, Company, Watch
from kitaru.store.database import Session
from kitaru.store.invariants import find_broken_invariants, list_blob_digests
from kitaru.store.leases import (
    claim_by_id,
    claim_executions,
    find_pending_ids,
    is_anything_claimable,
    is_anything_reapable,
    list_lease_owners,
    list_running,
    list_unfinished,
    reap,
    renew_leases,
)
from kitaru.store.receipts import forget_receipts, perform_once
from kitaru.store.sql_pruning import SqlPruning

# A transaction that had to wait for longer speaks of leases as they were before.
_LATE_SECONDS = 1.0
_NEVER = 0


class SqlStore(SqlPruning):
    """A store in a SQL database. The methods are specified in `contract`."""

    @property
    def url(self) -> str:
        return self._database.url

    @property
    def clock(self) -> Clock:
        return self._database.clock

    @property
    def company(self) -> Company:
        return Company.ONE_MACHINE

    def watch(self, wake: Callable[[], None]) -> Watch:
        return self._database.watch(wake)

    def perform_once(self, key: str, work: Callable[[SqlStore], bytes]) -> tuple[bytes, bool]:
        """Do `work` on this store in one transaction, unless that was done under this key before.

        For servers: a request whose answer was lost comes again with its key.

        Returns:
            What `work` answered, now or then, and whether it was then.

        Durability: one transaction for all that `work` writes and its answer. If it raises, nothing was
        written or kept.
        """
        return perform_once(self._database, key, lambda bound: work(SqlStore(bound)))

    def answer_within(self, seconds: float) -> None:
        """Do nothing: a database on this machine is not away."""

    def forget_receipts(self, *, before: int) -> int:
        """Forget answers that were given before a moment; return how many."""
        return self._database.write(
            lambda session: forget_receipts(session, before), is_repeatable=True
        )

    def get_execution(self, exec_id: str) -> ExecutionRecord:
        return self._database.read(lambda session: executions.get_execution(session, exec_id))

    def find_execution_ids(self, prefix: str, *, limit: int = 10) -> list[str]:
        return self._database.read(
            lambda session: executions.find_execution_ids(session, prefix, limit)
        )

    def list_executions(
        self, where: ExecutionFilter, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[ExecutionRecord]:
        return self._database.read(
            lambda session: executions.list_executions(session, where, limit, before)
        )

    def count_executions(self, where: ExecutionFilter, *, at_most: int = NO_LIMIT) -> int:
        return self._database.read(
            lambda session: executions.count_executions(session, where, at_most)
        )

    def retry_execution(self, exec_id: str, *, reopen: Sequence[str], now: int) -> ExecutionRecord:
        return self._database.write(
            lambda session: executions.retry_execution(session, exec_id, reopen, now)
        )

    def request_cancel(self, exec_id: str, *, by: str, now: int) -> ExecutionRecord:
        return self._database.write(
            lambda session: executions.request_cancel(session, exec_id, by, now)
        )

    def delete_execution(self, exec_id: str) -> None:
        self._database.write(lambda session: executions.delete_execution(session, exec_id))

    def claim_executions(
        self,
        claim: Claim,
        *,
        now: int,
        limit: int,
        where: ClaimFilter = ANY,
        exec_ids: Sequence[str] | None = None,
    ) -> list[ExecutionRecord]:
        if exec_ids is not None:
            return self._database.write(
                lambda session: claim_by_id(session, claim, now, limit, exec_ids)
            )
        # Idle workers ask all the time; they must not queue up for the write lock to learn nothing.
        if not self._database.read(lambda session: is_anything_claimable(session, now, where)):
            return []
        return self._database.write(
            lambda session: claim_executions(session, claim, now, limit, where)
        )

    def renew_leases(
        self, owner: str, leases: Sequence[tuple[str, int]], *, lease_expires_at: int
    ) -> list[HeldLease]:
        return self._database.write(
            lambda session: renew_leases(session, owner, leases, lease_expires_at),
            is_repeatable=True,
        )

    def list_running(self) -> list[ExecutionRecord]:
        return self._database.read(list_running)

    def list_unfinished(self, *, limit: int) -> list[ExecutionRecord]:
        return self._database.read(lambda session: list_unfinished(session, limit))

    def list_lease_owners(self) -> list[str]:
        self._database.reconnect_if_replaced()  # whoever attends would look at a file that is gone
        return self._database.read(list_lease_owners)

    def reap(
        self,
        *,
        now: int,
        dead_owners: Sequence[str],
        expired_before: int | None = None,
        exec_ids: Sequence[str] | None = None,
        spared: Sequence[str] = (),
        limit: int = NO_LIMIT,
    ) -> list[ExecutionRecord]:
        before = now if expired_before is None else expired_before
        began = time.monotonic()
        if not dead_owners and not self._database.read(
            lambda session: is_anything_reapable(session, before)
        ):
            return []

        def step(session: Session) -> list[ExecutionRecord]:
            # Whoever kept the lock for long kept others from renewing, who stand in line behind us.
            is_late = time.monotonic() - began > _LATE_SECONDS
            expired = _NEVER if is_late else before
            return reap(session, now, expired, dead_owners, exec_ids, spared, limit)

        return self._database.write(step)

    def announce_worker(self, worker: WorkerRecord) -> None:
        self._database.reconnect_if_replaced()
        self._database.write(
            lambda session: attendance.announce_worker(session, worker), is_repeatable=True
        )

    def list_workers(self) -> list[WorkerRecord]:
        return self._database.read(attendance.list_workers)

    def forget_workers(self, owners: Sequence[str]) -> None:
        self._database.write(
            lambda session: attendance.forget_workers(session, owners), is_repeatable=True
        )

    def reserve_launch(self, exec_id: str, *, now: int, pause: int) -> bool:
        return self._database.write(
            lambda session: attendance.reserve_launch(session, exec_id, now, pause)
        )

    def hasten_launch(self, exec_id: str, *, now: int) -> None:
        self._database.write(
            lambda session: attendance.hasten_launch(session, exec_id, now), is_repeatable=True
        )

    def reserve_launches(
        self,
        *,
        now: int,
        due: int,
        project: str | None,
        stack: str,
        seen_since: int,
        pause: int,
        limit: int,
    ) -> list[str]:
        if not self._database.read(
            lambda session: attendance.is_anything_to_launch(
                session, now, due, project, stack, seen_since
            )
        ):
            return []
        return self._database.write(
            lambda session: attendance.reserve_launches(
                session, now, due, project, stack, seen_since, pause, limit
            )
        )

    def list_pending_code(self, *, now: int, project: str, stack: str) -> list[tuple[str, str]]:
        return self._database.read(
            lambda session: attendance.list_pending_code(session, now, project, stack)
        )

    def commit(self, writes: Sequence[Write]) -> list[Committed]:
        # A run that goes on notices by itself that its row is gone; a new one would seem to succeed.
        if any(isinstance(write, NewExecution) for write in writes):
            self._database.reconnect_if_replaced()
        attempts = 0

        def step(session: Session) -> list[Committed]:
            nonlocal attempts
            attempts += 1
            committed = journal.commit(session, writes)
            return committed if attempts == 1 else adopt_created(writes, committed)

        return self._database.write(step, is_repeatable=journal.is_repeatable(writes))

    def list_calls(self, exec_id: str) -> list[CallRecord]:
        return self._database.read(lambda session: journal.list_calls(session, exec_id))

    def list_attempts(self, exec_id: str) -> list[AttemptRecord]:
        return self._database.read(lambda session: journal.list_attempts(session, exec_id))

    def list_artifacts(self, exec_id: str) -> list[ArtifactRecord]:
        return self._database.read(lambda session: journal.list_artifacts(session, exec_id))

    def list_metadata(self, exec_id: str) -> list[MetadataRecord]:
        return self._database.read(lambda session: journal.list_metadata(session, exec_id))

    def find_cached_call(
        self, project: str, cache_key: bytes, *, since: int | None, besides: str | None = None
    ) -> tuple[str, CallRecord] | None:
        return self._database.read(
            lambda session: journal.find_cached_call(session, project, cache_key, since, besides)
        )

    def list_waits(
        self, exec_id: str, *, positions: Sequence[str] | None = None
    ) -> list[WaitRecord]:
        return self._database.read(lambda session: waits.list_waits(session, exec_id, positions))

    def list_open_waits(
        self, project: str, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> list[WaitRecord]:
        return self._database.read(
            lambda session: waits.list_open_waits(session, project, limit, after)
        )

    def resolve_wait(
        self, exec_id: str, position: str, resolution: Resolution, *, now: int
    ) -> WaitRecord:
        return self._database.write(
            lambda session: waits.resolve_wait(session, exec_id, position, resolution, now)
        )

    def wake_due(
        self,
        *,
        now: int,
        limit: int,
        exec_ids: Sequence[str] | None = None,
        kind: WaitKind | None = None,
    ) -> list[str]:
        # As for claims: who watches asks all the time.
        if not self._database.read(
            lambda session: waits.is_anything_due(session, now, exec_ids, kind)
        ):
            return []
        return self._database.write(
            lambda session: waits.wake_due(session, now, limit, exec_ids, kind)
        )

    def find_pending_ids(
        self, *, now: int, limit: int, exec_ids: Sequence[str] | None = None
    ) -> list[str]:
        return self._database.read(lambda session: find_pending_ids(session, now, limit, exec_ids))

    def get_statuses(self, exec_ids: Sequence[str]) -> dict[str, ExecutionStatus]:
        return self._database.read(lambda session: executions.get_statuses(session, exec_ids))

    def import_executions(self, bundles: Sequence[Bundle]) -> None:
        self._database.reconnect_if_replaced()
        self._database.write(lambda session: archive.import_executions(session, bundles))

    def measure_flows(
        self, project: str, *, flow: str | None = None, since: int | None = None
    ) -> list[FlowFigures]:
        return self._database.read(
            lambda session: statistics.measure_flows(session, project, flow, since)
        )

    def list_projects(self) -> list[str]:
        return self._database.read(load.list_projects)

    def measure_load(self, *, now: int, at_most: int) -> Load:
        return self._database.read(lambda session: load.measure_load(session, now, at_most))

    def append_logs(self, lines: Sequence[LogLine]) -> None:
        self._database.write(lambda session: logs.append_logs(session, lines))

    def list_logs(
        self,
        exec_id: str,
        *,
        positions: Sequence[str] | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[tuple[int, LogLine]]:
        return self._database.read(
            lambda session: logs.list_logs(session, exec_id, positions, after, limit)
        )

    def append_events(self, events: Sequence[tuple[str, EventRecord]]) -> None:
        self._database.write(lambda session: logs.append_events(session, events))

    def prune_events(self, exec_id: str, *, keep: int) -> None:
        self._database.write(
            lambda session: logs.prune_events(session, exec_id, keep), is_repeatable=True
        )

    def list_events(
        self, exec_id: str, *, after: int = 0, limit: int | None = None
    ) -> list[tuple[int, EventRecord]]:
        return self._database.read(lambda session: logs.list_events(session, exec_id, after, limit))

    def list_blob_digests(self) -> list[str]:
        return self._database.read(list_blob_digests)

    def verify(self) -> list[str]:
        found = self._database.verify()
        # A damaged file would only repeat its damage in the answers of every further question.
        return found or self._database.read(find_broken_invariants)

    def close(self) -> None:
        self._database.close()
