"""What the rest of Kitaru may ask of a store.

A store keeps executions, their journals and what is written about them. It sees bytes and names, never a
user's value. Three things fulfil this contract (SQLite, Postgres, the server over HTTP), and one
conformance suite, `tests/store/`, holds them to the docstrings below, which are the specification.

Rules for every method:

* Calls are synchronous and may come from any thread; a store serialises what its database cannot.
* A method that writes is atomic: it has happened entirely and is flushed to disk when it returns, or it
  has not happened at all when it raises.
* Drivers' exceptions come out as `KitaruBackendError` (`__cause__` is the driver's). Nothing else of a
  driver leaks. A busy database is waited for, not reported.
* `now` is the caller's clock in microseconds. Leases on one machine share that machine's clock.
* Unknown ids raise `KitaruNotFoundError` where one thing is asked for (`get_…`), and give nothing where
  several are (`list_…`, `find_…`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from kitaru.figures import FlowFigures
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
    Resolution,
    WaitRecord,
    Write,
)


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

    def count_executions(self, where: ExecutionFilter) -> int:
        """Return how many executions fit."""
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
        self, claim: Claim, *, now: int, limit: int, exec_ids: Sequence[str] | None = None
    ) -> list[ExecutionRecord]:
        """Take up to `limit` pending executions whose `runnable_at` has come, oldest first.

        Each becomes `running` with its epoch raised by one, this owner, this expiry, and `started_at`
        if it had none. Two callers never get the same execution. The statement is the same that creates
        an execution as claimed (`NewExecution.claim`).

        Args:
            claim: Owner and expiry.
            now: The present moment.
            limit: At most so many.
            exec_ids: Only these, if given.
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

    def reap(
        self, *, now: int, dead_owners: Sequence[str], exec_ids: Sequence[str] | None = None
    ) -> list[ExecutionRecord]:
        """Take back running executions whose lease expired before `now` or whose owner is known dead.

        Each loses its owner and gains a recovery. It becomes `pending` with `runnable_at = now`; or
        `cancelled` if a cancel was asked for; or `failed`, with a reason, if it now has more recoveries
        than `max_recoveries`. Safe to repeat and to race: each loss is counted once.

        Args:
            now: The present moment.
            dead_owners: Owners that no longer exist, whatever their expiry says.
            exec_ids: Only these, if given.

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
        `waits_for` is no longer open. Wait rows replace what their position had, except that an open
        row keeps its `created_at`, and that an answered, aborted or expired row is left alone unless the
        new one has a `problem`: what someone has said is never lost because the flow asks again.
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
        what an earlier creation left, or None. An unknown parent raises `KitaruNotFoundError`. It is
        created where the store's URL leads now, even if another process has removed what was there.

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


class Waits(Protocol):
    """Keep what executions wait for, and wake them."""

    def list_waits(
        self, exec_id: str, *, positions: Sequence[str] | None = None
    ) -> list[WaitRecord]:
        """Return an execution's waits of every kind and status, in the order in which they were asked.

        Args:
            exec_id: The execution.
            positions: Only at these positions.
        """
        ...

    def list_open_waits(
        self, project: str, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> list[WaitRecord]:
        """Return a project's open questions, oldest first by `(created_at, exec_id, position)`.

        Args:
            project: Only of this project's executions.
            limit: At most so many.
            after: The last key of the page before.
        """
        ...

    def resolve_wait(
        self, exec_id: str, position: str, resolution: Resolution, *, now: int
    ) -> WaitRecord:
        """Answer or abort an open question; the first one wins. A waiting execution becomes `pending`.

        The answer is kept as it is given: whoever calls this has checked it against the schema. A
        question whose `wake_at` has passed is still answered if nobody has noticed yet.

        Raises:
            KitaruNotFoundError: The execution has no wait there, or does not exist.
            KitaruStateError: The wait is not an open question; the message says since when, and by whom.
        """
        ...

    def wake_due(self, *, now: int, limit: int, exec_ids: Sequence[str] | None = None) -> list[str]:
        """End open waits whose `wake_at` has come: timers are answered, questions expire.

        Their executions, if `waiting`, become `pending`, runnable at once. Safe to repeat and to race.

        Args:
            now: The present moment.
            limit: At most so many waits, the most overdue first.
            exec_ids: Only of these executions.

        Returns:
            The ids of the executions concerned, each once.
        """
        ...

    def find_pending_ids(
        self, *, now: int, limit: int, exec_ids: Sequence[str] | None = None
    ) -> list[str]:
        """Return ids of pending executions whose `runnable_at` has come, the longest due first."""
        ...

    def get_statuses(self, exec_ids: Sequence[str]) -> dict[str, ExecutionStatus]:
        """Return where these executions stand; those that do not exist are missing."""
        ...


class Archive(Protocol):
    """Bring in what another store has exported."""

    def import_executions(self, bundles: Sequence[Bundle]) -> None:
        """Add finished executions with all their rows, exactly as they are, in one transaction.

        Blobs must be there already. Parents stand before their children. A `parent_id` of an execution
        that is neither in the bundles nor here is dropped, together with its `parent_position`; an
        `idempotency_key` that is taken here is dropped.

        Raises:
            KitaruStateError: One of them is here already, or is not finished; nothing is written.
        """
        ...


class Statistics(Protocol):
    """Count and measure what has run."""

    def measure_flows(
        self, project: str, *, flow: str | None = None, since: int | None = None
    ) -> list[FlowFigures]:
        """Return the figures of each flow that has executions, by name.

        What happens meanwhile may be counted in some figures and not in others.

        Args:
            project: Only of this project's executions.
            flow: Only of this flow's.
            since: Only of those that were created at this moment or later.
        """
        ...


class Logs(Protocol):
    """Keep what runs print and tell, for watching."""

    def append_logs(self, lines: Sequence[LogLine]) -> None:
        """Add log lines. Lines of unknown executions are dropped silently."""
        ...

    def list_logs(
        self,
        exec_id: str,
        *,
        positions: Sequence[str] | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[tuple[int, LogLine]]:
        """Return log lines with their cursor, oldest first.

        Args:
            exec_id: The execution.
            positions: Only these calls'; the empty position is the flow's own body.
            after: Only lines with a larger cursor.
            limit: At most so many.
        """
        ...

    def append_events(self, events: Sequence[tuple[str, EventRecord]]) -> None:
        """Add events, each with its execution's id. Those of unknown executions are dropped silently."""
        ...

    def prune_events(self, exec_id: str, *, keep: int) -> None:
        """Forget all but an execution's newest `keep` events; `divergence` events stay."""
        ...

    def list_events(
        self, exec_id: str, *, after: int = 0, limit: int | None = None
    ) -> list[tuple[int, EventRecord]]:
        """Return events with their cursor, oldest first."""
        ...


class Writer(Protocol):
    """The way of many runs' writes into one store; `JournalWriter` is it."""

    def write(self, write: Write) -> Committed:
        """Commit a write, perhaps together with others', and return what became of it."""
        ...

    def submit(self, write: Write, done: Callable[[Committed | BaseException], None]) -> None:
        """As `write`, without waiting: `done` is called from another thread.

        Writes handed over one after the other are committed in that order.
        """
        ...


class Store(Executions, Leases, Journal, Waits, Archive, Statistics, Logs, Protocol):
    """All of it, and a life of its own."""

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        ...

    def list_blob_digests(self) -> list[str]:
        """Return the digests of all blobs that executions, calls and artifacts name, in order."""
        ...

    def verify(self) -> list[str]:
        """Return what is wrong with the stored data, one sentence each; an empty list is good news."""
        ...

    def close(self) -> None:
        """Let go of every connection. A closed store opens again at its next use."""
        ...
