"""The driver: orders flows steadily, cancels some, has workers struck, prunes, and notes all of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kitaru import KitaruClient, KitaruNotFoundError, KitaruStateError, settings, worker
from kitaru.model import ExecutionRecord
from soak import flows
from soak.book import CANCELS, ENDS, ORDERS, PRUNED, Book, now
from soak.fleet import Fleet
from soak.mix import Order, orders
from soak.pruning import prune
from soak.recording import Recorder
from soak.sampling import sample

_TICK_SECONDS = 0.02
# How long what is open at the end may take.
_PATIENCE_SECONDS = 120.0
# So many unfinished ones, and nothing is ordered for a while: the machine cannot keep up.
_MOST_UNFINISHED = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do.

    Attributes:
        seconds: For how long flows are ordered.
        kill_every: After how many seconds the next worker is struck.
        rate: Orders per second.
        keep_seconds: How long executions that are over stay in the store.
    """

    seconds: float
    kill_every: float
    workers: int
    seed: int
    rate: float = 5.0
    keep_seconds: float = 20.0
    has_attendant: bool = True


class Driver:
    """Drives one soak in one folder; Kitaru's settings must name the store in it already."""

    def __init__(self, folder: Path, plan: Plan, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._config = settings.current().config_dir
        self._book = Book(folder)
        self._client = KitaruClient()
        self._client.upkeep.migrate()
        self._recorder = Recorder(settings.current(), self._book)
        self.fleet = Fleet(
            folder, self._book, plan.workers, plan.seed, has_attendant=plan.has_attendant
        )
        self._chance = random.Random(f"driver {plan.seed}")
        self._orders = orders(plan.seed)
        self._cancels: list[tuple[float, str]] = []
        self._is_full = False
        self._ends_at = 0.0
        self._hands = ThreadPoolExecutor(2)

    def run(self) -> None:
        """Drive it to its end; whatever happens, no process is left."""
        try:
            self.fleet.start()
            self._drive()
            self._finish()
            self.fleet.end()
            self._close_books()
        finally:
            self.fleet.kill()
            self._hands.shutdown()
            self._recorder.store.close()
            self._client.close()
            self._book.close()

    def _drive(self) -> None:
        began = time.monotonic()
        self._ends_at = began + self._plan.seconds
        pauses: dict[Callable[[], None], float] = {
            self._order: 1 / self._plan.rate,
            self._upkeep: 2.0,
            self._sample: 2.0,
            self.fleet.strike: self._plan.kill_every,
        }
        due = dict.fromkeys(pauses, began) | {self.fleet.strike: began + self._plan.kill_every}
        while (moment := time.monotonic()) < self._ends_at:
            for duty in [duty for duty, at in due.items() if at <= moment]:
                due[duty] = moment + pauses[duty]
                duty()
            self._cancel_due(moment)
            self.fleet.look()
            time.sleep(_TICK_SECONDS)

    def _order(self) -> None:
        if self._is_full:
            return
        order = next(self._orders)
        if order.arguments.get("seconds", 0) > self._ends_at - time.monotonic():
            return  # nobody would wait for it
        together = threading.Barrier(2 if order.is_twice else 1)
        submitted = [self._hands.submit(_submit, order, together) for _ in range(together.parties)]
        began = time.monotonic()
        exec_ids = [each.result() for each in submitted]
        self._book.add(
            ORDERS,
            key=order.key,
            flow=order.flow,
            arguments=dict(order.arguments),
            exec_ids=exec_ids,
            seconds=time.monotonic() - began,
        )
        if order.cancel_after is not None:
            self._cancels.append((time.monotonic() + order.cancel_after, exec_ids[0]))

    def _sample(self) -> None:
        sample(self._book, self.fleet, self._config)

    def _cancel_due(self, moment: float) -> None:
        for at, exec_id in [due for due in self._cancels if due[0] <= moment]:
            self._cancels.remove((at, exec_id))
            try:
                self._client.executions.cancel(exec_id)
                is_accepted = True
            except (KitaruStateError, KitaruNotFoundError):  # it was faster
                is_accepted = False
            self._book.add(CANCELS, exec_id=exec_id, is_accepted=is_accepted)

    def _upkeep(self) -> None:
        finished = self._recorder.note_finished()
        keep = timedelta(seconds=self._plan.keep_seconds)
        before = now() - keep // timedelta(microseconds=1)
        old = [
            execution.id
            for execution in finished
            if execution.parent_id is None and (execution.ended_at or 0) < before
        ]
        if old:
            self._book.add(PRUNED, exec_ids=prune(self._client, old, keep))
        unfinished = self._recorder.store.list_unfinished(limit=_MOST_UNFINISHED)
        self._is_full = len(unfinished) >= _MOST_UNFINISHED

    def _finish(self) -> None:
        """Wait until nothing is left but what nobody will ever answer."""
        self.fleet.go_on()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        self._tell(f"no more orders; waiting up to {_PATIENCE_SECONDS:.0f} s for what is open")
        while time.monotonic() < deadline:
            self._cancel_due(float("inf"))
            self.fleet.look()
            self._recorder.note_finished()
            unfinished = self._recorder.store.list_unfinished(limit=_MOST_UNFINISHED)
            if all(_waits_for_nobody(execution) for execution in unfinished):
                return
            time.sleep(0.25)

    def _close_books(self) -> None:
        self._recorder.note_finished()
        unfinished = self._recorder.note_unfinished()
        self._book.add(
            ENDS,
            verified=self._client.upkeep.verify(),
            running=[execution.id for execution in self._recorder.store.list_running()],
            workers=[record.owner for record in self._recorder.store.list_workers()],
            unfinished=[execution.id for execution in unfinished],
        )


def _submit(order: Order, together: threading.Barrier) -> str:
    together.wait()
    flow = getattr(flows, order.flow)
    exec_id, _ = worker.start_detached(flow, dict(order.arguments), idempotency_key=order.key)
    return exec_id


def _waits_for_nobody(execution: ExecutionRecord) -> bool:
    return execution.flow == "asks_nobody" and execution.status == "waiting"
