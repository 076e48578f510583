"""Takes executions back whose runner is lost.

A dead process of this machine is noticed at once, any other by its lease. At its beginning and after a pause
of its own (the machine slept, the clock was set) a reaper does not trust expired leases at first: their
runners may have slept too, and are about to renew them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kitaru.clock import MICROSECONDS, Clock
from kitaru.engine.owner import Owner
from kitaru.store.contract import Store

logger = logging.getLogger(__name__)

# Later than this after the pass before, the reaper was not merely busy.
_PAUSE_SECONDS = 5.0

_NEVER = 0  # no lease has run out before the beginning of time


@dataclass(eq=False, kw_only=True)
class Reaper:
    """Makes what lost its runner `pending` again, or ends it if it did so too often.

    Attributes:
        held: The executions that this process itself runs.
        takes_expired: Whether to look for leases that have run out; if not, somebody else does, and nothing
            is written unless an owner of this machine is dead.
        interval_seconds: How often to look.
        patience_seconds: After a pause of its own, how long runners have to renew their leases.
        batch: How many executions one transaction takes back.
    """

    store: Store
    clock: Clock
    held: Callable[[], Sequence[str]] = tuple
    takes_expired: bool = True
    interval_seconds: float = 0.5
    patience_seconds: float = 3.0
    batch: int = 200
    name: str = "reaper"
    _passed_at: int | None = field(default=None, init=False)
    _patient_until: int = field(default=0, init=False)

    def run_once(self) -> bool:
        """Take back a batch of lost executions.

        Durability: one transaction; each loss is counted once, whoever notices it.
        """
        # Before the moment is taken: a store that does not answer at once makes whoever renews wait, too.
        dead = [owner for owner in self.store.list_lease_owners() if _is_dead(owner)]
        if not dead and not self.takes_expired:
            return False
        now = self.clock.now()
        if self._passed_at is None or self._is_a_pause(now - self._passed_at):
            self._patient_until = now + round(self.patience_seconds * MICROSECONDS)
        self._passed_at = now
        reaped = self.store.reap(
            now=now,
            dead_owners=dead,
            expired_before=now if self._trusts_leases(now) else _NEVER,
            spared=self.held(),
            limit=self.batch,
        )
        for execution in reaped:
            logger.warning(
                "execution %s of flow %s has lost its runner",
                execution.id,
                execution.flow,
                extra={"action": "reap", "exec_id": execution.id, "flow": execution.flow},
            )
        return len(reaped) >= self.batch

    def _trusts_leases(self, now: int) -> bool:
        return self.takes_expired and now >= self._patient_until

    def _is_a_pause(self, span: int) -> bool:
        return not 0 <= span < _PAUSE_SECONDS * MICROSECONDS


def _is_dead(owner: str) -> bool:
    parsed = Owner.parse(owner)
    return parsed is not None and parsed.is_dead()
