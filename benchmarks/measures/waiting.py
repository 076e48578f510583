"""P11: very many executions that wait, and what they cost whom.

They are made as users make them: flows that ask, started with `.run()` in processes of their own, which stay
for a while as a script in a terminal would. Who is measured then looks from outside.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attending import attending
from benchmarks.measuring import KITARU, ROOT, Bench, Figure, Row, Unit, clean_environment
from benchmarks.resting import watch_rest
from benchmarks.seeding import PROJECT
from kitaru.model import ExecutionFilter, ExecutionStatus, Resolution, WaitRecord, WaitStatus
from kitaru.settings_rules import sqlite_url
from kitaru.store import open_store
from kitaru.store.contract import Store

_MAKERS = 2
_AT_ONCE = 16  # executions that a maker has in flight
_PAGE = 100
MOST_BYTES = 200 * 1024**2  # what P11 gives an attendant
_AT_MOST_SECONDS = 0.05
ANSWERS = 5
WAITING = ExecutionFilter(project=PROJECT, status=ExecutionStatus.WAITING)
_PATIENCE_SECONDS = 30.0  # what goes on no sooner counts as this


@dataclass(frozen=True, slots=True)
class _Sample:
    """What a maker told at some point.

    Attributes:
        waiting: How many of its executions waited by then.
        at: When, by the machine's clock.
    """

    waiting: int
    at: float
    rss: int
    threads: int
    files: int


def measure(bench: Bench) -> list[Row]:
    directory = bench.new_directory()
    file = directory / "kitaru.db"
    lines = directory / "lines"
    lines.touch()
    store = open_store(sqlite_url(file))
    try:
        with ExitStack() as stack:
            each = bench.size.waiting // _MAKERS
            makers = [stack.enter_context(maker_of(directory, each, lines)) for _ in range(_MAKERS)]
            told = [told_by(maker) for maker in makers]
            rest = at_rest(
                makers[0].pid, bench, f"a process that {each:,} waiting executions have left"
            )
            pages = pages_of(bench, store)
            present = [
                answered_here(store, wait, lines)
                for wait in some_waits(store, min(ANSWERS, bench.size.rounds))
            ]
        gone = [
            _answered_by_command(store, lines, directory)
            for _ in range(min(ANSWERS, bench.size.rounds))
        ]
        rest += _attended(directory, bench, store, lines)
    finally:
        store.close()
    # The last to close the file has copied its log into it.
    size = file.stat().st_size / bench.size.waiting
    return [
        *_making(told, bench.size.waiting),
        Row(
            work="the store's file, for each of them",
            unit=Unit.BYTES,
            figures={KITARU: Figure([size])},
        ),
        *pages,
        Row(
            number="P8",
            work="an answer, to the next line in a process that has so many and that it has left",
            at_most=1.0,
            figures={KITARU: Figure(present)},
        ),
        Row(
            number="P8",
            work="an answer by `kitaru executions input`, to the next line in a process that it starts",
            at_most=1.0,
            figures={KITARU: Figure(gone)},
        ),
        *rest,
    ]


def _attended(directory: Path, bench: Bench, store: Store, lines: Path) -> Iterator[Row]:
    """Yield what those use who look after the store, and how soon a run goes on through them."""
    beside = f"beside {bench.size.waiting:,} executions that wait"
    for who, command in {
        "`kitaru up`": ["up", "--port", "0"],
        "a worker": ["worker", "benchmarks.asking"],
    }.items():
        with attending(directory, *command) as process:
            bound = MOST_BYTES if command[0] == "up" else None
            yield from at_rest(process.pid, bench, f"{who} {beside}", most_bytes=bound)
            answers = [
                answered_here(store, wait, lines)
                for wait in some_waits(store, min(ANSWERS, bench.size.rounds))
            ]
        yield Row(
            number="P8",
            work=f"an answer, to the next line through {who} alone",
            at_most=1.0,
            figures={KITARU: Figure(answers)},
        )


def at_rest(pid: int, bench: Bench, who: str, *, most_bytes: float | None = None) -> list[Row]:
    """Return what a process uses while nothing is asked of it; the attendant's place, too.

    Args:
        pid: The process.
        bench: For how long to look.
        who: What the process is, for the rows.
        most_bytes: The target for its memory.
    """
    rest = watch_rest(pid, bench.size.rest_seconds)
    return [
        Row(
            number="" if most_bytes is None else "P11",
            work=f"memory of {who}",
            at_most=most_bytes,
            unit=Unit.BYTES,
            figures={KITARU: Figure([rest.rss])},
        ),
        Row(
            work="its processor time in each second of rest",
            figures={KITARU: Figure([rest.cpu_share])},
        ),
    ]


@contextmanager
def maker_of(
    directory: Path, count: int, lines: Path, *, store_url: str | None = None
) -> Generator[subprocess.Popen[str]]:
    """Start a process that makes waiting executions, and end it with the block.

    Args:
        directory: Of its settings, and of its store if no other is named.
        count: How many it makes.
        lines: Where executions write that they have gone on.
        store_url: The store.
    """
    named = {} if store_url is None else {"KITARU_STORE_URL": store_url}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.asking", str(directory)),
            *(str(count), str(_AT_ONCE), str(lines)),
        ],
        cwd=ROOT,
        env=clean_environment(**named),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    try:
        yield process
        process.stdin.close()
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def told_by(maker: subprocess.Popen[str]) -> list[_Sample]:
    """Wait until a maker has made all, and return what it told meanwhile."""
    assert maker.stdout is not None
    return [_Sample(**json.loads(line)) for line in itertools.islice(maker.stdout, _SAMPLES)]


_SAMPLES = 11


def _making(told: list[list[_Sample]], waiting: int) -> Iterator[Row]:
    """Yield what each execution took and kept, by tenths of the way."""
    tenths = [
        [
            (after.at - before.at) / (after.waiting - before.waiting) / _MAKERS
            for before, after in itertools.pairwise(samples)
        ]
        for samples in told
    ]
    kept = [
        (samples[-1].rss - samples[1].rss) / (samples[-1].waiting - samples[1].waiting)
        for samples in told
    ]
    yield Row(
        work=f"each of {waiting:,} executions that ask and wait, `.run()` in {_MAKERS} processes",
        figures={KITARU: Figure([seconds for tenth in tenths for seconds in tenth])},
    )
    first = Figure([tenth[0] for tenth in tenths])
    yield Row(
        number="Growth",
        work="the last tenth of them instead of the first",
        limit=first,
        at_most=1.25,
        figures={KITARU: Figure([tenth[-1] for tenth in tenths], limits=first.seconds)},
    )
    yield Row(
        work="memory that the process keeps for each",
        unit=Unit.BYTES,
        figures={KITARU: Figure(kept)},
    )
    for name in ("threads", "files"):
        counts = [getattr(sample, name) for samples in told for sample in samples[1:]]
        yield Row(
            work=f"its {name} after each tenth", unit=Unit.COUNT, figures={KITARU: Figure(counts)}
        )


def pages_of(bench: Bench, store: Store, where: str = "") -> list[Row]:
    """Return what pages of what waits take, of a store that has as many as the run's size says."""
    works = {
        f"page of {_PAGE} executions that wait": lambda: store.list_executions(
            WAITING, limit=_PAGE
        ),
        f"page of {_PAGE} open questions": lambda: store.list_open_waits(PROJECT, limit=_PAGE),
    }
    rows: list[Row] = []
    for name, work in works.items():
        seconds: list[float] = []
        for _ in range(bench.size.rounds):
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
        rows.append(
            Row(
                number="P11",
                work=f"{name}, of {bench.size.waiting:,}{where}",
                at_most=_AT_MOST_SECONDS,
                figures={KITARU: Figure(seconds)},
            )
        )
    return rows


def some_waits(store: Store, count: int) -> list[WaitRecord]:
    """Return open questions from the oldest on, at even distances in time."""
    [oldest] = store.list_open_waits(PROJECT, limit=1)
    [newest] = store.list_executions(WAITING, limit=1)
    step = (newest.created_at - oldest.created_at) // count
    moments = [oldest.created_at - 1 + number * step for number in range(count)]
    return [store.list_open_waits(PROJECT, limit=1, after=(at, "", ""))[0] for at in moments]


def answered_here(store: Store, wait: WaitRecord, lines: Path) -> float:
    """Answer a question; return the seconds until its execution has reached its next line."""
    answer = Resolution(status=WaitStatus.ANSWERED, answer="null", by="benchmark", via="benchmark")
    began = time.monotonic()
    store.resolve_wait(wait.exec_id, wait.position, answer, now=store.clock.now())
    return _next_line(lines, wait.exec_id) - began


def _answered_by_command(store: Store, lines: Path, directory: Path) -> float:
    """Return the seconds from an answer's commit, without the start of the process that gives it."""
    [wait] = store.list_open_waits(PROJECT, limit=1)
    subprocess.run(
        [
            *(sys.executable, "-m", "kitaru", "executions", "input", wait.exec_id),
            *("--wait", "go", "--value", "null"),
        ],
        cwd=ROOT,
        env=clean_environment(KITARU_CONFIG_PATH=str(directory)),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    reached = _next_line(lines, wait.exec_id)
    [answered] = store.list_waits(wait.exec_id)
    assert answered.resolved_at is not None
    since_boot = time.time() - time.monotonic()
    return reached - (answered.resolved_at / 1_000_000 - since_boot)


def _next_line(lines: Path, exec_id: str) -> float:
    """Return the moment at which an execution reached its next line; the present one if it does not."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for line in lines.read_text().rpartition("\n")[0].splitlines():
            reached, moment = line.split()
            if reached == exec_id:
                return float(moment)
        time.sleep(0.001)
    return time.monotonic()
