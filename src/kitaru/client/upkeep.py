"""`client.upkeep`: the store itself, whatever executions it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kitaru.client import pruning
from kitaru.client.connection import Connection
from kitaru.clock import MICROSECONDS, present_clock, to_datetime
from kitaru.errors import KitaruBackendError
from kitaru.fleet import WorkerRecord
from kitaru.model import ExecutionFilter, ExecutionRecord, ExecutionStatus
from kitaru.pruning import Pruned
from kitaru.retention import RetentionRule, Space
from kitaru.settings_rules import masked_url

if TYPE_CHECKING:
    from kitaru.client.backup import Backup

_SHOWN = 100  # nobody reads more
_PATIENCE = 5 * MICROSECONDS  # an execution that is left to others gets as long to be taken up


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """An execution that lost its process.

    Attributes:
        exec_id: Which one.
        flow_name: Its flow.
        reason: What became of the process, in plain words.
        is_held: Someone has stopped it by hand, and no attendant goes on with it.
    """

    exec_id: str
    flow_name: str
    reason: str
    is_held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A process that claims pending executions.

    Attributes:
        pid: Its number on its machine; None if it is not a process of Kitaru's own.
        flows: The code that it has, as `module:qualname`.
        concurrency: How many executions it runs at once.
        running: How many it runs.
        seen_at: When it last said so.
    """

    pid: int | None
    project: str
    stack: str
    flows: tuple[str, ...]
    concurrency: int
    running: int
    started_at: datetime
    seen_at: datetime


def _worker_info(pid: int | None, record: WorkerRecord) -> WorkerInfo:
    return WorkerInfo(
        pid=pid,
        project=record.project,
        stack=record.stack,
        flows=tuple(
            dict.fromkeys(ref for key in record.code_keys if (ref := key.partition("|")[2]) != "*")
        ),
        concurrency=record.concurrency,
        running=record.running,
        started_at=to_datetime(record.started_at),
        seen_at=to_datetime(record.seen_at),
    )


class Upkeep:
    """Looks after the store that a client is connected to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def store_url(self) -> str:
        """Where the store is, without credentials."""
        return masked_url(self._connection.settings.store_url)

    def migrate(self) -> None:
        """Create the store if there is none, and bring it to what this version of Kitaru needs.

        Raises:
            KitaruBackendError: It was written by a newer version, or cannot be changed.
        """
        self._connection.store.migrate()

    def verify(self) -> list[str]:
        """Return what is wrong with the store and the large values it names, a sentence each."""
        from kitaru.store import open_store

        found = open_store(
            self._connection.settings.store_url,
            at_once=False,
            access=self._connection.settings.access,
        ).verify()
        # What a damaged store says about its blobs means nothing.
        return found or list(self._broken_blobs())

    def list_workers(self) -> list[WorkerInfo]:
        """Return the workers that claim executions of the store, the oldest first."""
        from kitaru import worker

        store = self._connection.store
        found = worker.list_present(store, now=present_clock(store.clock).now())
        return [_worker_info(one.pid, one.record) for one in found]

    def plan_pruning(
        self, rules: Sequence[RetentionRule] | None = None, *, project: str | None = None
    ) -> Pruned:
        """Return what `prune` would remove now, with sizes; nothing is changed.

        Args:
            rules: What may go; the setting `retention`, if they are left out.
            project: Only this project's executions; those of all, if it is left out.

        Raises:
            KitaruUsageError: No rule is given or configured.
        """
        return pruning.plan(self._connection, rules, project)

    def prune(
        self,
        rules: Sequence[RetentionRule] | None = None,
        *,
        project: str | None = None,
        grace: timedelta | None = None,
    ) -> Pruned:
        """Remove what the rules let go, and large values that nothing names; return what went.

        Durability: many short transactions, so that runs go on beside it. It may die at any point; the
        next time goes on with what is left.

        Args:
            rules: What may go; the setting `retention`, if they are left out.
            project: Only this project's executions; those of all, if it is left out.
            grace: For how long a large value stays that nothing names; 24 hours.

        Raises:
            KitaruUsageError: No rule is given or configured.
        """
        return pruning.prune(self._connection, rules, project, grace)

    def measure(self) -> Space:
        """Return how much room the store's file takes, and how much of it is free inside."""
        return pruning.measure(self._connection)

    def shrink(self) -> tuple[Space, Space]:
        """Give the file's free space back to the disk; return its room before and after.

        Durability: one transaction, during which nobody else can write.

        Raises:
            KitaruBackendError: The disk has no room for what that takes meanwhile.
        """
        return pruning.shrink(self._connection)

    def back_up(self, folder: str | Path) -> Backup:
        """Write the store and the large values it names to a new folder, while runs go on.

        Durability: the folder is complete, or not there.

        Raises:
            KitaruUsageError: There is something at that path.
            KitaruNotFoundError: The folder above it does not exist.
            KitaruBackendError: It cannot be written, or something in the store is missing or damaged.
        """
        from kitaru.client import backup

        return backup.back_up(self._connection, Path(folder))

    def restore(self, folder: str | Path, *, force: bool = False) -> Backup:
        """Replace the store by a backup, which is checked first.

        Durability: large values first; then the store in one transaction.

        Args:
            folder: What `back_up` has written.
            force: Also if the store has executions; they are lost.

        Raises:
            KitaruNotFoundError: There is no backup there.
            KitaruStateError: The store has executions, or one is running.
            KitaruBackendError: The backup is not whole.
        """
        from kitaru.client import backup

        return backup.restore(self._connection, Path(folder), force=force)

    def find_interrupted(self) -> list[Interruption]:
        """Return the project's executions that wait for a process to continue them, oldest first.

        Costs a few small queries where nothing runs.
        """
        settings = self._connection.settings
        is_default = settings.sources.get("store_url") == "default"
        if is_default and not (settings.config_dir / "kitaru.db").is_file():
            return []  # and looking does not make one
        found = sorted(
            [*self._lost(), *self._given_back()],
            key=lambda pair: (pair[0].created_at, pair[0].id),
        )
        return [
            Interruption(
                exec_id=record.id,
                flow_name=record.flow,
                reason=reason,
                is_held=record.held_at is not None,
            )
            for record, reason in found
        ]

    def _lost(self) -> Iterator[tuple[ExecutionRecord, str]]:
        if not self._connection.store.list_running():
            return
        from kitaru import worker

        for found in worker.find_interrupted():
            if found.execution.project == self._connection.settings.project:
                yield found.execution, found.reason

    def _given_back(self) -> Iterator[tuple[ExecutionRecord, str]]:
        store = self._connection.store
        # Sleeps that are over and questions that have expired, which no process has noticed.
        store.wake_due(now=present_clock(store.clock).now(), limit=_SHOWN)
        where = ExecutionFilter(
            project=self._connection.settings.project, status=ExecutionStatus.PENDING
        )
        pending = store.list_executions(where, limit=_SHOWN)
        if not pending:
            return
        from kitaru import worker

        now = present_clock(store.clock).now()
        workers = [one.record for one in worker.list_present(store, now=now)]
        for record in pending:
            if record.held_at is not None:
                yield record, "it was stopped by hand"
            elif any(one.serves(record) for one in workers):
                continue
            elif record.started_at is not None:
                was_waiting = record.status_reason is None and store.list_waits(record.id)
                over = "what it waited for is over"
                yield record, over if was_waiting else "it was stopped before its end"
            elif record.runnable_at < now - _PATIENCE:
                yield record, "nobody has taken it up"

    def _broken_blobs(self) -> Iterator[str]:
        for digest in self._connection.store.list_blob_digests():
            try:
                self._connection.blobs.get(digest)
            except KitaruBackendError as error:
                yield str(error)
