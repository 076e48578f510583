"""Has pending executions run that nobody takes up, by starting a process for each through its stack."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from kitaru.clock import MICROSECONDS, Clock
from kitaru.engine.owner import Owner
from kitaru.errors import KitaruBackendError, KitaruNotFoundError
from kitaru.fleet import WORKER_SILENCE, WorkerRecord
from kitaru.stacks import Stack
from kitaru.store.contract import Store

logger = logging.getLogger(__name__)

# A worker that died elsewhere, or whose death nobody saw, is forgotten after a day.
_FORGOTTEN_SECONDS = 24 * 3600.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Dispatcher:
    """Starts processes for executions that are pending and that no worker serves.

    Attributes:
        stack: Where the processes run.
        project: Only executions of this project; None for all.
        interval_seconds: How often to look.
        grace_seconds: How long whoever else is there has to take an execution up first: the process that it
            has left, a worker, the one who gave the answer.
        retry_seconds: If no process takes an execution up, the next one is started after so long, and then
            after twice as long each time. Its code may be gone; it stays pending.
        most: How many processes run at once.
    """

    store: Store
    clock: Clock
    stack: Stack
    project: str | None = None
    interval_seconds: float = 0.2
    grace_seconds: float = 0.35
    retry_seconds: float = 10.0
    most: int = 16
    name: str = "dispatcher"

    def run_once(self) -> bool:
        """Start processes for a batch of executions.

        Durability: an execution is reserved in one transaction before its process is started. If the
        attendant dies in between, the next launch comes after `retry_seconds`.
        """
        now = self.clock.now()
        self._forget_the_dead(now)
        for exec_id in self.stack.take_killed():
            self.store.hasten_launch(exec_id, now=now)
        free = self.most - self.stack.count()
        if free <= 0:
            return False
        reserved = self.store.reserve_launches(
            now=now,
            due=now - _micros(self.grace_seconds),
            project=self.project,
            stack=self.stack.name,
            seen_since=now - WORKER_SILENCE,
            pause=_micros(self.retry_seconds),
            limit=free,
        )
        problem: KitaruBackendError | None = None
        for exec_id in reserved:
            try:
                pid = self.stack.launch(self.store.get_execution(exec_id))
            except KitaruNotFoundError:
                continue  # deleted just now
            except KitaruBackendError as error:
                # The next ones are reserved already.
                problem = error
                continue
            logger.info(
                "process %d was started for execution %s",
                pid,
                exec_id,
                extra={"action": "launch", "exec_id": exec_id},
            )
        if problem is not None:
            raise problem
        return False

    def _forget_the_dead(self, now: int) -> None:
        long_ago = now - _micros(_FORGOTTEN_SECONDS)
        dead = [
            worker.owner
            for worker in self.store.list_workers()
            if worker.seen_at < long_ago or _is_dead(worker)
        ]
        if dead:
            self.store.forget_workers(dead)


def _is_dead(worker: WorkerRecord) -> bool:
    owner = Owner.parse(worker.owner)
    return owner is not None and owner.is_dead()


def _micros(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
