"""P10: a page of executions, with very many of them stored, in a file and on Postgres."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import KITARU, Bench, Figure, Row
from benchmarks.seeding import FLOWS, PROJECT, store_of
from benchmarks.seeding_postgres import database_of
from kitaru.model import ExecutionFilter, ExecutionStatus
from kitaru.settings_rules import sqlite_url
from kitaru.store import open_store
from kitaru.store.contract import Store

_PAGE = 100
_AT_MOST_SECONDS = 0.05

Work = Callable[[], object]


def measure(bench: Bench) -> list[Row]:
    count = bench.size.stored[-1]
    file = store_of(bench, count) / "kitaru.db"
    store = open_store(sqlite_url(file))
    try:
        pages, others = _rows(bench, store, f"{count:,} stored")
        cold = [_cold(file, store) for _ in range(bench.size.rounds)]
    finally:
        store.close()
    first = "the first of these, nothing of the file in memory"
    return [*pages, Row(work=first, figures={KITARU: Figure(cold)}), *others]


def measure_on_postgres(bench: Bench) -> list[Row]:
    count = bench.size.stored[-1]
    store = open_store(database_of(bench, count))
    try:
        pages, others = _rows(bench, store, f"{count:,} stored in Postgres")
    finally:
        store.close()
    return [*pages, *others]


def _rows(bench: Bench, store: Store, stored: str) -> tuple[list[Row], list[Row]]:
    """Return the rows of what has a target, and of what is only reported."""
    pages, others = _pages(store), _others(store)
    for work in (*pages.values(), *others.values()):
        work()
    figures = bench.in_turn({name: _timed(work) for name, work in (pages | others).items()})
    return [
        Row(
            number="P10",
            work=f"{name}, {stored}",
            at_most=_AT_MOST_SECONDS,
            figures={KITARU: figures[name]},
        )
        for name in pages
    ], [Row(work=name, figures={KITARU: figures[name]}) for name in others]


def _pages(store: Store) -> dict[str, Work]:
    """Return what must be fast however much is stored, each time for another flow."""
    flows = itertools.cycle(FLOWS)
    newest = store.list_executions(_of(), limit=1)[0]
    oldest = store.list_unfinished(limit=1)[0]
    middle = ((newest.created_at + oldest.created_at) // 2, "")

    def page(where: Callable[[], ExecutionFilter], before: tuple[int, str] | None = None) -> Work:
        return lambda: store.list_executions(where(), limit=_PAGE, before=before)

    def of_a_flow() -> ExecutionFilter:
        return _of(flow=next(flows))

    def failed_of_a_flow() -> ExecutionFilter:
        return _of(flow=next(flows), status=ExecutionStatus.FAILED)

    return {
        f"page of {_PAGE} executions by flow and status": page(failed_of_a_flow),
        "page by flow": page(of_a_flow),
        "page by status": page(lambda: _of(status=ExecutionStatus.WAITING)),
        "page of all, newest first": page(_of),
        "page of all from the middle of them": page(_of, middle),
        "page by flow and status from the middle of them": page(failed_of_a_flow, middle),
        "page of open questions": lambda: store.list_open_waits(PROJECT, limit=_PAGE),
    }


def _others(store: Store) -> dict[str, Work]:
    """Return what looks at every execution that could fit; it is reported without a target."""
    flows = itertools.cycle(FLOWS)
    return {
        "count of all": lambda: store.count_executions(_of()),
        "count by flow and status": lambda: store.count_executions(
            _of(flow=next(flows), status=ExecutionStatus.COMPLETED)
        ),
        "page by a tag that none has": lambda: store.list_executions(_of(tag="none"), limit=_PAGE),
        "page by a stack that none has": lambda: store.list_executions(
            _of(stack="none"), limit=_PAGE
        ),
    }


def _of(
    *,
    flow: str | None = None,
    status: ExecutionStatus | None = None,
    tag: str | None = None,
    stack: str | None = None,
) -> ExecutionFilter:
    return ExecutionFilter(project=PROJECT, flow=flow, status=status, tag=tag, stack=stack)


def _timed(work: Work) -> Callable[[], float]:
    def seconds() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return seconds


def _cold(file: Path, store: Store) -> float:
    """Return what the first page takes in a process that has just started on a machine that has, too."""
    store.close()
    forget = getattr(os, "posix_fadvise", None)
    if forget is not None:
        descriptor = os.open(file, os.O_RDONLY)
        forget(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    where = _of(flow=FLOWS[0], status=ExecutionStatus.FAILED)
    return _timed(lambda: store.list_executions(where, limit=_PAGE))()
