"""What Prometheus is told: how much there is, how fast the store is, and what was asked.

Executions are counted at most every few seconds and up to `MOST_COUNTED`, so that a scrape costs the same
however much is stored; a gauge that stands there means "so many or more". The rest is counted as it passes
through this process. Runners with a database connection of their own are counted nowhere here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kitaru.clock import MICROSECONDS
from kitaru.errors import KitaruError
from kitaru.model import Committed, ExecutionRecord, HeldLease, Write
from kitaru.store.contract import Store
from kitaru.store.contract.serving import BoundStore, ServedStore

MOST_COUNTED = 10_000
"""Gauges of the store stop here."""

_FRESH_SECONDS = 5.0
_STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAIT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The measurements of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "kitaru_http_request_seconds",
            "Time to answer requests; of streams, to begin.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.commits = Histogram(
            "kitaru_commit_seconds",
            "Time to commit journal entries and new executions.",
            buckets=_STORE_BUCKETS,
            registry=self.registry,
        )
        self.claims = Histogram(
            "kitaru_claim_seconds",
            "Time to claim executions, those claims included that found none.",
            buckets=_STORE_BUCKETS,
            registry=self.registry,
        )
        self.waited = Histogram(
            "kitaru_claim_latency_seconds",
            "How long claimed executions had been runnable.",
            buckets=_WAIT_BUCKETS,
            registry=self.registry,
        )
        self.lost = Counter(
            "kitaru_leases_lost",
            "Leases that a runner wanted to renew or write under, and that it had no more.",
            registry=self.registry,
        )
        self.reaped = Counter(
            "kitaru_executions_reaped",
            "Executions taken back from runners that were gone.",
            registry=self.registry,
        )

    def follow(self, store: Store) -> None:
        """Tell of this store from now on."""
        self.registry.register(_Load(store))


class MeteredStore:
    """A store whose work is measured; everything else it does as the store itself.

    Args:
        store: What does the work.
        metrics: Where it is counted.
    """

    def __init__(self, store: BoundStore | ServedStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        """Return what the store has."""
        return getattr(self._store, name)

    def commit(self, writes: Sequence[Write]) -> list[Committed]:
        """As the store."""
        with self._metrics.commits.time():
            committed = self._store.commit(writes)
        self._metrics.lost.inc(sum(not one.held for one in committed))
        return committed

    def claim_executions(self, *args: Any, **kwargs: Any) -> list[ExecutionRecord]:
        """As the store."""
        with self._metrics.claims.time():
            claimed = self._store.claim_executions(*args, **kwargs)
        for execution in claimed:
            self._metrics.waited.observe(
                max(0, kwargs["now"] - execution.runnable_at) / MICROSECONDS
            )
        return claimed

    def renew_leases(
        self, owner: str, leases: Sequence[tuple[str, int]], *, lease_expires_at: int
    ) -> list[HeldLease]:
        """As the store."""
        held = self._store.renew_leases(owner, leases, lease_expires_at=lease_expires_at)
        self._metrics.lost.inc(max(0, len(leases) - len(held)))
        return held

    def reap(self, **kwargs: Any) -> list[ExecutionRecord]:
        """As the store."""
        reaped = self._store.reap(**kwargs)
        self._metrics.reaped.inc(len(reaped))
        return reaped

    def perform_once(self, key: str, work: Callable[[BoundStore], bytes]) -> tuple[bytes, bool]:
        """As the store; what the work does is measured too."""
        return cast("ServedStore", self._store).perform_once(
            key, lambda bound: work(cast("BoundStore", MeteredStore(bound, self._metrics)))
        )


def metered(store: ServedStore, metrics: Metrics) -> ServedStore:
    """Return a store that does the same, and counts it."""
    return cast("ServedStore", MeteredStore(store, metrics))


class _Load(Collector):
    """Looks up what there is, not too often."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._found: list[Metric] = []
        self._found_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not ask the store."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return the gauges; none but `kitaru_store_up` while the store cannot be reached."""
        # While one scrape waits for a store that is away, the others are told what was found before.
        if self._lock.acquire(blocking=False):
            try:
                if time.monotonic() - self._found_at >= _FRESH_SECONDS:
                    self._found = list(self._look())
                    self._found_at = time.monotonic()
            finally:
                self._lock.release()
        return self._found

    def _look(self) -> Iterator[Metric]:
        try:
            now = self._store.clock.now()
            load = self._store.measure_load(now=now, at_most=MOST_COUNTED)
        except KitaruError:
            yield _gauge("kitaru_store_up", "Whether the store answers.", 0)
            return
        yield _gauge("kitaru_store_up", "Whether the store answers.", 1)
        by_status = GaugeMetricFamily(
            "kitaru_executions",
            f"Executions of all projects by status, up to {MOST_COUNTED} of each.",
            labels=["status"],
        )
        for status, count in load.statuses.items():
            by_status.add_metric([status.value], count)
        yield by_status
        yield _gauge(
            "kitaru_queue_depth",
            f"Pending executions that could be claimed now, up to {MOST_COUNTED}.",
            load.due,
        )
        oldest = 0 if load.longest_due_at is None else max(0, now - load.longest_due_at)
        yield _gauge(
            "kitaru_queue_oldest_seconds",
            "How long the longest due pending execution has been due.",
            oldest / MICROSECONDS,
        )
        yield _gauge(
            "kitaru_open_waits",
            f"Questions that nobody has answered yet, up to {MOST_COUNTED}.",
            load.open_questions,
        )


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


class CountRequests:
    """An ASGI application whose requests are counted and timed.

    Args:
        app: What is behind it.
        metrics: Where they are counted.
        prefix: What most paths begin with.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        self._requests = metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.labels(
                    scope["method"] if scope["method"] in _METHODS else "other",
                    _route_of(scope, self._prefix),
                    message["status"],
                ).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, count)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _route_of(scope: Scope, prefix: str) -> str:
    """Return a path with names for what varies: there must not be a series for each execution."""
    if "endpoint" not in scope:
        return "none"
    path: str = scope["path"]
    route = scope.get("route")
    if route is not None:
        # A router that is part of another knows its own part of the path.
        is_below = path.startswith(f"{prefix}/") and not route.path.startswith(prefix)
        return f"{prefix}{route.path}" if is_below else str(route.path)
    for name, value in reversed(scope.get("path_params", {}).items()):
        before, _, after = path.rpartition(f"/{value}")
        path = f"{before}/{{{name}}}{after}"
    return path
