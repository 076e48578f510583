"""A store behind a server: the contract over HTTP, for whoever has no database of their own.

What a runner is promised by a database is kept on this way too:

* Every request that writes has an `Idempotency-Key`, and is sent again with the same one until its answer
  comes; the server does it once (`server/routes/store.py`).
* A run outlives a network that is cut for a minute: records are tried for longer than that. Whether the run
  still holds its execution afterwards is decided where it always is, by the fence. Everything else gives up
  sooner, because somebody waits for it; so does what creates executions.
* Renewing leases is tried once: the keeper comes again by itself, and has to know at once that it did not
  work.

The moment that everything goes by is the server's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from kitaru.access import NO_ACCESS, ServerAccess
from kitaru.clock import Clock, SharedClock
from kitaru.errors import KitaruBackendError, KitaruFeatureNotAvailableError
from kitaru.faults import fault
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
from kitaru.retention import (
    PrunablePage,
    PruneStep,
    PruningKey,
    RetentionRule,
    Space,
    TreeSizes,
)
from kitaru.store.contract import ANY, NO_LIMIT, Company, Watch
from kitaru.store.http_changes import ChangeStream
from kitaru.store.operations import OPERATIONS, Kind, wrap_writes
from kitaru.wire.connection import Patience, ServerConnection
from kitaru.wire.versions import KEY_HEADER

_PATH = "/api/v1/store/"
_READ_HEADERS = {"Content-Type": "application/json"}

_RECORDS_SECONDS = 90.0
_OTHERS_SECONDS = 10.0
_RENEWAL = Patience(0.0, 3.0)
_LONG_TRY_SECONDS = 300.0
# These look at everything that there is, or change much of it.
_LONG = frozenset(
    {
        "verify",
        "measure_space",
        "measure_flows",
        "measure_load",
        "measure_trees",
        "count_executions",
        "import_executions",
        "prune_executions",
        "list_prunable",
        "list_blob_digests",
        "list_unnamed_blobs",
        "delete_execution",
    }
)


class HttpStore:
    """A store behind a server. The methods are specified in `contract`.

    Args:
        url: The server's.
        access: Who asks, and how the server proves its name.
        records_seconds: For how long records of runs are tried.
        others_seconds: For how long everything else is.
    """

    def __init__(
        self,
        url: str,
        *,
        access: ServerAccess = NO_ACCESS,
        records_seconds: float = _RECORDS_SECONDS,
        others_seconds: float = _OTHERS_SECONDS,
    ) -> None:
        self._server = ServerConnection(url, access)
        self._changes = ChangeStream(self._server)
        self._clock = SharedClock(self._ask_time)
        self._has_time = False
        long_try = max(_LONG_TRY_SECONDS, access.timeout_seconds)
        self._records = Patience(records_seconds)
        self._others = Patience(others_seconds)
        self._patience = {
            **dict.fromkeys(_LONG, Patience(others_seconds, long_try)),
            "renew_leases": _RENEWAL,
        }

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def company(self) -> Company:
        return Company.ATTENDED

    def watch(self, wake: Callable[[], None]) -> Watch:
        return self._changes.add(wake)

    def get_execution(self, exec_id: str) -> ExecutionRecord:
        return self._do("get_execution", exec_id=exec_id)

    def find_execution_ids(self, prefix: str, *, limit: int = 10) -> list[str]:
        return self._do("find_execution_ids", prefix=prefix, limit=limit)

    def list_executions(
        self, where: ExecutionFilter, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[ExecutionRecord]:
        return self._do("list_executions", where=where, limit=limit, before=before)

    def count_executions(self, where: ExecutionFilter, *, at_most: int = NO_LIMIT) -> int:
        return self._do("count_executions", where=where, at_most=at_most)

    def retry_execution(self, exec_id: str, *, reopen: Sequence[str], now: int) -> ExecutionRecord:
        return self._do("retry_execution", exec_id=exec_id, reopen=reopen, now=now)

    def request_cancel(self, exec_id: str, *, by: str, now: int) -> ExecutionRecord:
        return self._do("request_cancel", exec_id=exec_id, by=by, now=now)

    def delete_execution(self, exec_id: str) -> None:
        self._do("delete_execution", exec_id=exec_id)

    def claim_executions(
        self,
        claim: Claim,
        *,
        now: int,
        limit: int,
        where: ClaimFilter = ANY,
        exec_ids: Sequence[str] | None = None,
    ) -> list[ExecutionRecord]:
        return self._do(
            "claim_executions", claim=claim, now=now, limit=limit, where=where, exec_ids=exec_ids
        )

    def renew_leases(
        self, owner: str, leases: Sequence[tuple[str, int]], *, lease_expires_at: int
    ) -> list[HeldLease]:
        return self._do(
            "renew_leases", owner=owner, leases=leases, lease_expires_at=lease_expires_at
        )

    def list_running(self) -> list[ExecutionRecord]:
        return self._do("list_running")

    def list_unfinished(self, *, limit: int) -> list[ExecutionRecord]:
        return self._do("list_unfinished", limit=limit)

    def list_lease_owners(self) -> list[str]:
        return self._do("list_lease_owners")

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
        return self._do(
            "reap",
            now=now,
            dead_owners=dead_owners,
            expired_before=expired_before,
            exec_ids=exec_ids,
            spared=spared,
            limit=limit,
        )

    def commit(self, writes: Sequence[Write]) -> list[Committed]:
        creates = any(isinstance(write, NewExecution) for write in writes)
        committed, tries = self._ask(
            "commit",
            {"writes": wrap_writes(writes)},
            self._others if creates else self._records,
        )
        return committed if tries == 1 else adopt_created(writes, committed)

    def list_calls(self, exec_id: str) -> list[CallRecord]:
        return self._do("list_calls", exec_id=exec_id)

    def list_attempts(self, exec_id: str) -> list[AttemptRecord]:
        return self._do("list_attempts", exec_id=exec_id)

    def list_artifacts(self, exec_id: str) -> list[ArtifactRecord]:
        return self._do("list_artifacts", exec_id=exec_id)

    def list_metadata(self, exec_id: str) -> list[MetadataRecord]:
        return self._do("list_metadata", exec_id=exec_id)

    def find_cached_call(
        self, project: str, cache_key: bytes, *, since: int | None, besides: str | None = None
    ) -> tuple[str, CallRecord] | None:
        return self._do(
            "find_cached_call", project=project, cache_key=cache_key, since=since, besides=besides
        )

    def list_waits(
        self, exec_id: str, *, positions: Sequence[str] | None = None
    ) -> list[WaitRecord]:
        return self._do("list_waits", exec_id=exec_id, positions=positions)

    def list_open_waits(
        self, project: str, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> list[WaitRecord]:
        return self._do("list_open_waits", project=project, limit=limit, after=after)

    def resolve_wait(
        self, exec_id: str, position: str, resolution: Resolution, *, now: int
    ) -> WaitRecord:
        return self._do(
            "resolve_wait", exec_id=exec_id, position=position, resolution=resolution, now=now
        )

    def wake_due(
        self,
        *,
        now: int,
        limit: int,
        exec_ids: Sequence[str] | None = None,
        kind: WaitKind | None = None,
    ) -> list[str]:
        return self._do("wake_due", now=now, limit=limit, exec_ids=exec_ids, kind=kind)

    def find_pending_ids(
        self, *, now: int, limit: int, exec_ids: Sequence[str] | None = None
    ) -> list[str]:
        return self._do("find_pending_ids", now=now, limit=limit, exec_ids=exec_ids)

    def get_statuses(self, exec_ids: Sequence[str]) -> dict[str, ExecutionStatus]:
        return self._do("get_statuses", exec_ids=exec_ids)

    def announce_worker(self, worker: WorkerRecord) -> None:
        self._do("announce_worker", worker=worker)

    def list_workers(self) -> list[WorkerRecord]:
        return self._do("list_workers")

    def forget_workers(self, owners: Sequence[str]) -> None:
        self._do("forget_workers", owners=owners)

    def reserve_launch(self, exec_id: str, *, now: int, pause: int) -> bool:
        return self._do("reserve_launch", exec_id=exec_id, now=now, pause=pause)

    def hasten_launch(self, exec_id: str, *, now: int) -> None:
        self._do("hasten_launch", exec_id=exec_id, now=now)

    def list_pending_code(self, *, now: int, project: str, stack: str) -> list[tuple[str, str]]:
        return self._do("list_pending_code", now=now, project=project, stack=stack)

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
        return self._do(
            "reserve_launches",
            now=now,
            due=due,
            project=project,
            stack=stack,
            seen_since=seen_since,
            pause=pause,
            limit=limit,
        )

    def import_executions(self, bundles: Sequence[Bundle]) -> None:
        self._do("import_executions", bundles=bundles)

    def measure_flows(
        self, project: str, *, flow: str | None = None, since: int | None = None
    ) -> list[FlowFigures]:
        return self._do("measure_flows", project=project, flow=flow, since=since)

    def list_projects(self) -> list[str]:
        return self._do("list_projects")

    def measure_load(self, *, now: int, at_most: int) -> Load:
        return self._do("measure_load", now=now, at_most=at_most)

    def append_logs(self, lines: Sequence[LogLine]) -> None:
        self._do("append_logs", lines=lines)

    def list_logs(
        self,
        exec_id: str,
        *,
        positions: Sequence[str] | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[tuple[int, LogLine]]:
        return self._do("list_logs", exec_id=exec_id, positions=positions, after=after, limit=limit)

    def append_events(self, events: Sequence[tuple[str, EventRecord]]) -> None:
        self._do("append_events", events=events)

    def prune_events(self, exec_id: str, *, keep: int) -> None:
        self._do("prune_events", exec_id=exec_id, keep=keep)

    def list_events(
        self, exec_id: str, *, after: int = 0, limit: int | None = None
    ) -> list[tuple[int, EventRecord]]:
        return self._do("list_events", exec_id=exec_id, after=after, limit=limit)

    def list_prunable(
        self,
        rule: RetentionRule,
        *,
        now: int,
        project: str | None = None,
        after: PruningKey | None = None,
        limit: int,
    ) -> PrunablePage:
        return self._do(
            "list_prunable", rule=rule, now=now, project=project, after=after, limit=limit
        )

    def measure_trees(self, exec_ids: Sequence[str]) -> TreeSizes:
        return self._do("measure_trees", exec_ids=exec_ids)

    def prune_executions(
        self, exec_ids: Sequence[str], rule: RetentionRule, *, now: int, most_rows: int
    ) -> PruneStep:
        return self._do(
            "prune_executions", exec_ids=exec_ids, rule=rule, now=now, most_rows=most_rows
        )

    def list_unnamed_blobs(self, digests: Sequence[str]) -> list[str]:
        return self._do("list_unnamed_blobs", digests=digests)

    def find_oldest_start(self) -> int | None:
        return self._do("find_oldest_start")

    def list_blob_digests(self) -> list[str]:
        return self._do("list_blob_digests")

    def verify(self) -> list[str]:
        return self._do("verify")

    def measure_space(self) -> Space:
        return self._do("measure_space")

    def migrate(self) -> None:
        self._refuse("be brought to another schema", "`kitaru db migrate`")

    def shrink(self) -> None:
        self._refuse("be shrunk", "`kitaru db shrink`, or what its database offers,")

    def back_up(self, path: Path) -> None:
        self._refuse(
            f"be copied to {str(path)!r}", "`kitaru db backup`, or what its database offers,"
        )

    def restore(self, path: Path) -> None:
        self._refuse(
            f"be replaced by {str(path)!r}", "`kitaru db restore`, or what its database offers,"
        )

    def close(self) -> None:
        self._changes.close()
        self._server.close()

    def _refuse(self, what: str, instead: str) -> NoReturn:
        message = (
            f"the store of the server {self.url!r} cannot {what} from here. Use {instead} on the server's"
            f" machine, with the settings that the server has."
        )
        raise KitaruFeatureNotAvailableError(message)

    def _do(self, name: str, **arguments: object) -> Any:
        return self._ask(name, arguments, self._patience.get(name, self._others))[0]

    def _ask(self, name: str, arguments: dict[str, object], patience: Patience) -> tuple[Any, int]:
        """Return what the server's store returns, and how often it was asked."""
        operation = OPERATIONS[name]
        headers = _READ_HEADERS
        if operation.kind is not Kind.READ:
            headers = {**_READ_HEADERS, KEY_HEADER: os.urandom(16).hex()}
            fault("request.before_send")
        answer = self._server.ask(
            "POST",
            _PATH + name,
            operation.encode_request(arguments),
            headers=headers,
            patience=patience,
            what=name,
        )
        self._server.raise_for_problem(answer)
        try:
            return operation.decode_answer(answer.body), answer.tries
        except msgspec.DecodeError as error:
            raise self._not_understood(name, error) from error

    def _ask_time(self) -> int:
        what = "tell the time"
        # Once it is known, it goes on by itself; nobody waits for a server to hear it again.
        patience = _RENEWAL if self._has_time else self._others
        answer = self._server.ask("GET", "/api/v1/clock", patience=patience, what=what)
        self._server.raise_for_problem(answer)
        try:
            moment = msgspec.json.decode(answer.body, type=dict[str, int])["now"]
        except (msgspec.DecodeError, KeyError) as error:
            raise self._not_understood(what, error) from error
        self._has_time = True
        return moment

    def _not_understood(self, what: str, error: Exception) -> KitaruBackendError:
        return KitaruBackendError(
            f"the server {self.url!r} answered {what!r} with what this version does not understand ({error})."
            f" Check that no proxy stands in between, and that server and client fit: `kitaru status`."
        )
