"""What a store does for executions, their leases and their journals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kitaru.fleet import (
    ClaimFilter,
)
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    CallRecord,
    Claim,
    Committed,
    ExecutionFilter,
    ExecutionRecord,
    HeldLease,
    MetadataRecord,
    Write,
)

ANY = ClaimFilter()
"""Whatever is pending."""

NO_LIMIT = 2**62


class Executions(Protocol):
    """Look executions up and act on them from outside their run."""

    def get_execution(self, exec_id: str) -> ExecutionRecord:
        """Return the execution with exactly this id.

        Raises:
            KitaruNotFoundError: There is none.
        """
        ...

    def find_execution_ids(self, prefix: str, *, limit: int = 10) -> list[str]:
        """Return up to `limit` ids that begin with `prefix`, in order; wildcards mean themselves."""
        ...

    def list_executions(
        self,
        where: ExecutionFilter,
        *,
        limit: int,
        before: tuple[int, str] | None = None,
    ) -> list[ExecutionRecord]:
        """Return up to `limit` executions, newest first by `(created_at, id)`.

        Args:
            where: What they must have in common.
            limit: At most so many.
            before: The last `(created_at, id)` of the page before.
        """
        ...

    def count_executions(self, where: ExecutionFilter, *, at_most: int = NO_LIMIT) -> int:
        """Return how many executions fit; counting stops at `at_most`, for it reads an entry of each."""
        ...

    def retry_execution(self, exec_id: str, *, reopen: Sequence[str], now: int) -> ExecutionRecord:
        """Make a failed execution pending again, and its failed calls at `reopen` pending with it.

        Reopened calls keep their ids and attempts; all other calls keep their outcome. Failure,
        `ended_at`, a cancel request and the count of recoveries are cleared, `runnable_at` is `now`.

        Raises:
            KitaruStateError: The execution is not failed.
        """
        ...

    def request_cancel(self, exec_id: str, *, by: str, now: int) -> ExecutionRecord:
        """Ask for an execution and all its descendants to be cancelled.

        Pending and waiting ones become `cancelled` at once; running ones keep running with the request
        in their row, until their runner ends them. A second request changes nothing.

        Raises:
            KitaruStateError: The execution has finished.
        """
        ...

    def delete_execution(self, exec_id: str) -> None:
        """Remove an execution with its journal, logs, artifacts and events, and its descendants.

        Blobs stay; other executions may name them. What an unfinished ancestor has started stays too:
        its recovery asks for the results of its children. So does what an unfinished replay reads.

        Raises:
            KitaruStateError: It, a descendant, an ancestor or a replay of one of them is not finished.
        """
        ...


class Leases(Protocol):
    """Decide who runs what. `claim_executions` is the only door to `running`."""

    def claim_executions(
        self,
        claim: Claim,
        *,
        now: int,
        limit: int,
        where: ClaimFilter = ANY,
        exec_ids: Sequence[str] | None = None,
    ) -> list[ExecutionRecord]:
        """Take up to `limit` pending executions whose `runnable_at` has come, oldest first.

        Those that are asked for by id may also be held or not due yet. Each becomes `running` with its
        epoch raised by one, this owner, this expiry, and `started_at` if it had none. Two callers never
        get the same execution. The statement is the same that creates an execution as claimed
        (`NewExecution.claim`).

        Args:
            claim: Owner and expiry.
            now: The present moment.
            limit: At most so many.
            where: What they must have in common.
            exec_ids: Just these, if given; `where` does not count then.
        """
        ...

    def renew_leases(
        self, owner: str, leases: Sequence[tuple[str, int]], *, lease_expires_at: int
    ) -> list[HeldLease]:
        """Push the expiry of an owner's leases, given as `(exec_id, epoch)`, in one statement.

        A lease that has expired but that nobody took is renewed like any other. What is missing from
        the result is lost.
        """
        ...

    def list_running(self) -> list[ExecutionRecord]:
        """Return every running execution, whoever owns it, oldest first."""
        ...

    def list_unfinished(self, *, limit: int) -> list[ExecutionRecord]:
        """Return up to `limit` executions that are not over, of any project, oldest first."""
        ...

    def list_lease_owners(self) -> list[str]:
        """Return who holds leases, each once."""
        ...

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
        """Take back running executions whose lease expired before `now` or whose owner is known dead.

        Leases that ran out are left if the store could not be written to for long: it kept their owners
        from renewing, too.

        Each loses its owner and gains a recovery. It becomes `pending` with `runnable_at = now`; or
        `cancelled` if a cancel was asked for; or `failed`, with a reason, if it now has more recoveries
        than `max_recoveries`. Safe to repeat and to race: each loss is counted once.

        Args:
            now: The present moment.
            dead_owners: Owners that no longer exist, whatever their expiry says.
            expired_before: Leases that ran out before this moment, if not before `now`.
            exec_ids: Only these, if given.
            spared: Not these executions: the caller knows that it runs them.
            limit: At most so many.

        Returns:
            The executions as they are now.
        """
        ...


class Journal(Protocol):
    """Write and read what happened inside executions."""

    def commit(self, writes: Sequence[Write]) -> list[Committed]:
        """Write several things in one transaction; return what became of each, in order.

        `JournalEntry`: written only while its epoch is current and the execution is running, else
        `held` is False and nothing of this entry is written; the other entries are unaffected. A call
        row replaces a `running` or `pending` row of its position, never an outcome; writing an outcome
        again changes nothing, and another outcome is an error. Attempts and
        artifacts are added, those already there are left; events are appended. Metadata replaces the
        same key. An outcome ends the claim: status, result or failure, `ended_at`, no owner. It becomes
        what it says even if a cancel was asked for meanwhile, except that a release to `pending` or
        `waiting` then becomes `cancelled`. `waiting` becomes `pending`, runnable at once, if a wait at
        `waits_for` is no longer open. The same outcome of the same claim again is held again, and nothing
        is written: its first answer may have been lost. Wait rows replace what their position had, except
        that an open row keeps its `created_at`, and that an answered, aborted or expired row is left alone
        unless the new one has a `problem`: what someone has said is never lost because the flow asks again.
        A wait for a child is always written as the child stands, finished or not: it may have been
        retried. One that does not exist any more has finished.
        A child wait whose child has finished is written as answered.

        Whenever an execution ends, here or by the methods above and below, its open waits become
        `closed`, and a wait for it becomes `answered`: a parent that was `waiting` becomes `pending`.
        Reopening a failed call (`reopen`, `retry_execution`) also makes its question open again, without
        `wake_at`.

        `NewExecution`: if an execution of the same project and flow has the same idempotency key, or
        one has the same parent and parent position, that one is returned and nothing is written, not
        even `parent_call` or `calls`. The same `id` again gives the execution that it has created. If
        `parent_epoch` is given and no longer current, `held` is False. If the parent has a cancel
        request, `held` is True, `cancel_requested` is True, and nothing is written; `execution` is then
        what an earlier creation left, or None. An unknown parent or origin raises `KitaruNotFoundError`.
        It is created where the store's URL leads now, even if another process has removed what was there.

        Durability: one transaction, one flush, for all of them. If it raises, none was written.
        """
        ...

    def list_calls(self, exec_id: str) -> list[CallRecord]:
        """Return the execution's journal in the order in which the rows were first written."""
        ...

    def list_attempts(self, exec_id: str) -> list[AttemptRecord]:
        """Return the recorded failed attempts, by position and number."""
        ...

    def list_artifacts(self, exec_id: str) -> list[ArtifactRecord]:
        """Return the saved artifacts in the order in which they were saved."""
        ...

    def list_metadata(self, exec_id: str) -> list[MetadataRecord]:
        """Return the logged metadata of the execution and its calls."""
        ...

    def find_cached_call(
        self, project: str, cache_key: bytes, *, since: int | None, besides: str | None = None
    ) -> tuple[str, CallRecord] | None:
        """Return the newest completed call with this cache key, and its execution's id.

        Args:
            project: Only executions of this project.
            cache_key: Checkpoint, code and fingerprint in one hash.
            since: Only calls that ended at or after this moment.
            besides: Not those of this execution.
        """
        ...
