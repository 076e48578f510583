"""Leases: the right to run an execution, for a while, renewed as long as the process lives.

Model. A claim gives one runner an execution for `ttl` seconds and raises its epoch. A thread of its own
renews all leases of the process with one statement every `interval` seconds. Whoever finds a lease
expired, or its owner dead, may take the execution back (`reap`), and someone claims it anew.

Invariants:

* Every write of a run carries its epoch and happens only while that epoch is the present one. So two
  runners may overlap in time, but never in the record.
* A runner distrusts itself before the store does. Its trust in a lease is anchored to the moment at
  which the renewal *began*, so that a slow round trip cannot stretch it, and it ends a margin before the
  lease does. A runner without trust asks the store before it starts another body.
* An expired lease that nobody took may be renewed: the epoch says whether anybody did.

Why overlap is still possible: a process that is stopped (SIGSTOP, a suspended laptop) in the middle of a
body wakes up in that body. It will finish it, and find at the commit that it has lost the execution. The
body has then run twice; its result is recorded once.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from kitaru.engine.owner import current_owner
from kitaru.errors import KitaruBackendError
from kitaru.model import Claim, JournalEntry

if TYPE_CHECKING:
    from kitaru.clock import Clock
    from kitaru.engine.run import Run
    from kitaru.model import ExecutionRecord
    from kitaru.store.contract import Store

logger = logging.getLogger(__name__)

# Trust ends this fraction of the lease before the lease does: time enough to notice and stop.
_SAFETY_FRACTION = 0.25


class LeaseKeeper:
    """Holds the leases of this process on one store, and renews them.

    Args:
        store: Where they are kept.
        clock: The time.
        ttl_seconds: How long a lease holds if it is not renewed.
        interval_seconds: How often it is.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        ttl_seconds: float,
        interval_seconds: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ttl = ttl_seconds
        self._interval = interval_seconds
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._trusted_until: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @property
    def owner(self) -> str:
        """This process, as leases name it."""
        return str(current_owner())

    def claim(self) -> Claim:
        """Return a claim for this process that begins now."""
        expires_at = self._clock.now() + int(self._ttl * 1_000_000)
        return Claim(owner=self.owner, lease_expires_at=expires_at)

    def trust_from_now(self) -> float:
        """Return until which monotonic second a lease that is asked for now may be trusted."""
        return self._clock.monotonic() + self._ttl * (1 - _SAFETY_FRACTION)

    def take(self, exec_id: str) -> tuple[ExecutionRecord, float] | None:
        """Claim a pending execution for this process; None if it is not pending or someone was faster.

        Returns:
            The execution, and until when its lease is trusted.
        """
        trusted_until = self.trust_from_now()
        claimed = self._store.claim_executions(
            self.claim(), now=self._clock.now(), limit=1, exec_ids=[exec_id]
        )
        return (claimed[0], trusted_until) if claimed else None

    def hold(self, run: Run, trusted_until: float) -> None:
        """Keep a run's lease alive until `let_go`."""
        with self._lock:
            self._runs[run.exec_id] = run
            self._trusted_until[run.exec_id] = trusted_until
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(
                    target=self._keep, name="kitaru-leases", daemon=True
                )
                self._thread.start()

    def let_go(self, run: Run) -> None:
        """Stop renewing a run's lease."""
        with self._lock:
            if self._runs.get(run.exec_id) is run:
                del self._runs[run.exec_id]
                del self._trusted_until[run.exec_id]

    def trusts(self, exec_id: str) -> bool:
        """Whether this process still believes that it holds the execution."""
        return self._clock.monotonic() < self._trusted_until.get(exec_id, 0.0)

    def renew_now(self, exec_id: str) -> None:
        """Ask the store whether an execution is still this process's, and tell its run if not."""
        run = self._runs.get(exec_id)
        if run is not None:
            self._renew([run])

    def confirm(self, exec_id: str) -> None:
        """As `renew_now`, but for as long as a record would be tried.

        A store behind a network may be away for a minute. Renewals are not tried for that long, because they
        come again by themselves; whoever stands at a line of the flow has only this one.
        """
        run = self._runs.get(exec_id)
        if run is None:
            return
        try:
            self._renew([run])
        except KitaruBackendError:
            # It writes nothing and asks the fence, as each record does.
            [fence] = self._store.commit([JournalEntry(exec_id=exec_id, epoch=run.epoch)])
            if not fence.held:
                run.lose()
            else:
                self._renew([run])

    def runs(self) -> list[Run]:
        """Return the runs whose leases are held."""
        with self._lock:
            return list(self._runs.values())

    def stop(self) -> None:
        """End the thread; leases run out by themselves."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _keep(self) -> None:
        idle_rounds = 0
        is_broken = False
        while not self._stop.wait(self._interval):
            runs = self.runs()
            idle_rounds = 0 if runs else idle_rounds + 1
            with self._lock:
                # Two rounds with nothing to renew: the next `hold` starts another thread.
                if (
                    idle_rounds > 1
                    and not self._runs
                    and self._thread is threading.current_thread()
                ):
                    self._thread = None
                    return
            try:
                self._renew(runs)
                is_broken = False
            except Exception as error:
                if not is_broken:
                    trace = None if isinstance(error, KitaruBackendError) else error
                    logger.warning(
                        "lease renewal failed: %s", error, exc_info=trace, extra={"action": "renew"}
                    )
                is_broken = True

    def _renew(self, runs: list[Run]) -> None:
        if not runs:
            return
        trusted_until = self.trust_from_now()
        expires_at = self._clock.now() + int(self._ttl * 1_000_000)
        held = self._store.renew_leases(
            self.owner, [(run.exec_id, run.epoch) for run in runs], lease_expires_at=expires_at
        )
        by_id = {(lease.exec_id, lease.epoch): lease for lease in held}
        for run in runs:
            lease = by_id.get((run.exec_id, run.epoch))
            with self._lock:
                if self._runs.get(run.exec_id) is not run:
                    continue  # It ended while the statement ran.
                if lease is not None:
                    self._trusted_until[run.exec_id] = trusted_until
            if lease is None:
                run.lose()
            elif lease.cancel_requested:
                run.request_cancel()
