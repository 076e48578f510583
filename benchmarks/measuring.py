"""Measure several things in turn, so that what the machine does meanwhile strikes all alike."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from benchmarks.postgres import Postgres
from benchmarks.sizes import Size

ROOT = Path(__file__).parent.parent

LIMIT, KITARU, LANGGRAPH, DBOS = "limit", "kitaru", "langgraph", "dbos"
LIMIT_ON_POSTGRES = "limit_on_postgres"
_NEEDS = {LANGGRAPH: "langgraph.checkpoint.sqlite", DBOS: "dbos"}


class Unit(Enum):
    """What a row's figures are."""

    SECONDS = "s"
    PER_SECOND = "/s"
    BYTES = "B"
    COUNT = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one thing took in each round.

    Attributes:
        seconds: By round; or what the row's unit says.
        limits: What the limit took in the same rounds, if it was measured.
    """

    seconds: Sequence[float]
    limits: Sequence[float] = ()

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios: both parts of each were measured within seconds."""
        if not self.limits:
            return None
        pairs = zip(self.seconds, self.limits, strict=True)
        return statistics.median(mine / limit for mine, limit in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table.

    Attributes:
        number: Of the target in the documentation; empty for what is only reported.
        limit: What the figures are compared with.
        at_most: The target: times the limit or, without a limit, seconds.
        at_least: The target for what should be much.
        figures: By subject; a subject that is missing was not asked.
        unit: Of the figures, and of the target that is no ratio.
        is_slowest: Whether the slowest round is to reach the target, not the median.
    """

    number: str = ""
    work: str
    limit: Figure | None = None
    at_most: float | None = None
    at_least: float | None = None
    figures: Mapping[str, Figure] = field(default_factory=dict[str, Figure])
    unit: Unit = Unit.SECONDS
    is_slowest: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether Kitaru reaches the target; None if there is none."""
        figure = self.figures[KITARU]
        if self.at_least is not None:
            return figure.median >= self.at_least
        if self.at_most is None:
            return None
        if self.is_slowest:
            return max(figure.seconds) <= self.at_most
        measured = figure.median if figure.ratio is None else figure.ratio
        return measured <= self.at_most


class Subject:
    """A process that does work when it is told to."""

    def __init__(self, process: subprocess.Popen[str], complaints: Path) -> None:
        self._process = process
        self._complaints = complaints
        self._answer()

    @property
    def pid(self) -> int:
        return self._process.pid

    def do(self, operation: str, count: int) -> float:
        """Return the seconds that each of `count` repetitions took."""
        self.begin(operation, count)
        return self.end()

    def begin(self, operation: str, count: int) -> None:
        """Have it do something without waiting for that; `end` does."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{operation} {count}\n")
        self._process.stdin.flush()

    def end(self) -> float:
        """Return the seconds that each repetition took of what `begin` began."""
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise RuntimeError(f"a subject ended:\n{self._complaints.read_text()}")
        return line


class Bench:
    """Where measures get their subjects and directories from.

    Args:
        size: How much work.
        directory: For what goes at the end of the run.
        keep: Where stores with many executions are kept for other runs, if they are.
        runner: Command that starts a runner of `benchmarks.steps`, if not the one of `standing_by.py`.
    """

    def __init__(
        self,
        size: Size,
        directory: Path,
        *,
        keep: Path | None = None,
        runner: Sequence[str] | None = None,
    ) -> None:
        self.size = size
        self.directory = directory
        self.runner = runner or (sys.executable, "-m", "benchmarks.standing_by")
        self.keep = (keep or directory).absolute()
        self.databases: dict[int, str] = {}  # of `seeding_postgres.py`, by how much they hold
        self._postgres: Postgres | None = None

    def is_installed(self, name: str) -> bool:
        try:
            return name not in _NEEDS or find_spec(_NEEDS[name]) is not None
        except ModuleNotFoundError:
            return False

    def new_directory(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.directory))

    @cached_property
    def postgres(self) -> Postgres:
        """The server that all of the run's databases are on; started when it is asked for."""
        # Who runs as root has it run as another user, who must get there.
        self.directory.chmod(0o755)
        self._postgres = Postgres(self.directory)
        return self._postgres

    @property
    def has_started_postgres(self) -> bool:
        """Whether something was measured on it."""
        return self._postgres is not None

    def close(self) -> None:
        """End what the whole run has shared."""
        if self._postgres is not None:
            self._postgres.remove()

    @contextmanager
    def subjects(self, *names: str) -> Generator[dict[str, Subject]]:
        """Start those of the subjects that are installed; they end with the block."""
        with ExitStack() as stack:
            yield {
                name: stack.enter_context(self.subject(name))
                for name in names
                if self.is_installed(name)
            }

    @contextmanager
    def subjects_on_postgres(self, *names: str) -> Generator[dict[str, Subject]]:
        """Start those of Kitaru, DBOS and the limit that are installed, each with a database of its own."""
        modules = {LIMIT: LIMIT_ON_POSTGRES}
        with ExitStack() as stack:
            yield {
                name: stack.enter_context(
                    self.subject(modules.get(name, name), url=self._database_for(name))
                )
                for name in names
                if self.is_installed(name)
            }

    def _database_for(self, name: str) -> str:
        return self.postgres.migrated() if name == KITARU else self.postgres.empty()

    @contextmanager
    def subject(
        self, name: str, store: Path | None = None, *, url: str | None = None
    ) -> Generator[Subject]:
        """Start a subject on a store of its own, which goes when it ends, or on one that is there.

        Args:
            name: Its module.
            store: The folder of a store that is there.
            url: Of the database or server that it is to use instead of a file.
        """
        own = self.new_directory()
        directory = store or own
        complaints = own / "stderr"
        with complaints.open("w") as stderr:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", f"benchmarks.subjects.{name}", str(directory)),
                    *([] if url is None else [url]),
                ],
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        try:
            yield Subject(process, complaints)
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            shutil.rmtree(own, ignore_errors=True)

    def in_turn(self, contestants: Mapping[str, Callable[[], float]]) -> dict[str, Figure]:
        """Measure each of them in every round, in another order each time.

        Whoever is called `limit` is what the others' ratios are taken to: it is measured between any
        two of them, and the mean of the two measurements beside one counts for that one.
        """
        names = [name for name in contestants if name != LIMIT]
        measure_limit = contestants.get(LIMIT)
        seconds: dict[str, list[float]] = {name: [] for name in names}
        limits: dict[str, list[float]] = {name: [] for name in names}
        all_limits = [measure_limit()] if measure_limit is not None else []
        for number in range(self.size.rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                seconds[name].append(contestants[name]())
                if measure_limit is not None:
                    all_limits.append(measure_limit())
                    limits[name].append(statistics.mean(all_limits[-2:]))
        figures = {name: Figure(seconds[name], limits[name]) for name in names}
        return {LIMIT: Figure(all_limits), **figures} if measure_limit is not None else figures


def clean_environment(**more: str) -> dict[str, str]:
    """Return an environment without anybody's settings of Kitaru."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("KITARU_")}
    return {**kept, **more}
