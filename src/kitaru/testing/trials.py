"""What a run goes through before its own: crashes at every point, entries from the top after every call.

Each trial is a forked child of the test on a store of its own, a real file that starts as a copy of the
test's. What became of the flow and of the outside world is compared with two runs that nobody disturbs.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitaru import settings
from kitaru.client import KitaruClient
from kitaru.engine.calls import Call
from kitaru.engine.journal import OnDivergence
from kitaru.testing.comparing import Expected
from kitaru.testing.disturbing import Disturbance, disturb_runs
from kitaru.testing.effects import all_logs
from kitaru.testing.flows import Running, clock_of, in_hand
from kitaru.testing.forking import Ended, check_fork, run_in_child
from kitaru.testing.kill import watch_points
from kitaru.testing.outcomes import divergences_of, outcome_of
from kitaru.testing.points import (
    Point,
    PointCounter,
    leave_note,
    spread,
    summed_up,
    take_note,
    told,
)
from kitaru.testing.store import freeze_store, use_store

if TYPE_CHECKING:
    from kitaru.client.models import Execution
    from kitaru.testing.driving import Driver

_SPARE_ENTRIES = 10
_GRACE_SECONDS = 10.0  # for a child's own beginning and end

Report = Mapping[str, Any]


class TrialFailedError(AssertionError):
    """A run does not stand what pytest was asked to put it through."""


def stand_trial(running: Running, disturbance: Disturbance) -> None:
    """Put a run through what is asked for, and keep a report of it.

    Raises:
        TrialFailedError: It does not stand it; everything that was found is named.
        KitaruFeatureNotAvailableError: This system cannot fork.
        KitaruStateError: Other executions of the test are still going on.
    """
    check_fork()
    running = replace(running, clock=clock_of(running))
    with _Court.open(running) as court:
        expected = court.expect()
        if expected is None:
            return  # the run itself will say why
        failures: list[str] = []
        if disturbance.crash_sweep:
            report, failure = court.sweep(expected, disturbance.limit)
            disturbance.reports.append(report)
            failures += failure
        if disturbance.always_replay:
            report, failure = court.enter_again(expected)
            disturbance.reports.append(report)
            failures += failure
    if failures:
        raise TrialFailedError("\n\n".join(failures))


class _Court:
    """Runs trials of one run.

    Args:
        running: The run.
        folder: For the trials' stores.
        snapshot: The test's store as it is now.
        known: The executions in it.
    """

    def __init__(self, running: Running, folder: Path, snapshot: Path, known: set[str]) -> None:
        self._running = running
        self._folder = folder
        self._snapshot = snapshot
        self._known = known
        # Held, so that the children have the same ones: also those of tests before this one.
        self._logs = all_logs()
        self._written = {number: len(log) for number, log in self._logs.items()}
        self._cases = 0
        self._points: list[Point] = []

    @classmethod
    @contextlib.contextmanager
    def open(cls, running: Running) -> Generator[_Court]:
        """Yield a court for a run, and remove everything afterwards."""
        with tempfile.TemporaryDirectory(prefix="kitaru-trial-") as folder:
            snapshot = Path(folder, "snapshot")
            known = freeze_store(snapshot)
            yield cls(running, Path(folder), snapshot, known)

    def expect(self) -> Expected | None:
        """Return how the run goes undisturbed; None if it cannot even be run."""
        reports: list[Report] = []
        for _ in range(2):
            ended = self._in_child(self._new_case(), self._play_and_count)
            if ended.report is None:
                return None
            reports.append(ended.report)
        self._points = [(point, call, number) for point, call, number in reports[0]["points"]]
        return Expected(*reports)

    # Crashes

    def sweep(self, expected: Expected, limit: int | None) -> tuple[dict[str, object], list[str]]:
        """Kill the run at each of its points and recover it; return a report, and what was found."""
        points = spread(self._points, limit)
        killed = recovered = 0
        found: dict[str, list[Point]] = {}
        for point in points:
            case = self._new_case()
            ended = self._in_child(case, lambda point=point: self._play_to_death(point))
            if ended.status != -signal.SIGKILL:
                if ended.report is None:
                    found.setdefault(f"it could not be run: {ended.problem}", []).append(point)
                continue
            killed += 1
            ended = self._in_child(case, self._recover)
            if ended.report is None:
                problem = f"it was not recovered: {_last_line(ended.problem)}"
                found.setdefault(problem, []).append(point)
                continue
            problems = expected.problems(ended.report)
            recovered += not problems
            for problem in problems:
                found.setdefault(problem, []).append(point)
        report: dict[str, object] = {
            "trial": "crash sweep",
            "flow": self._running.flow.name,
            "points": len(points),
            "kills": killed,
            "recovered": recovered,
            "problems": [summed_up(problem, at) for problem, at in found.items()],
        }
        if not found:
            return report, []
        lines = [
            f"flow {self._running.flow.name!r} does not survive every crash:"
            f" it was killed at {killed} points, and {killed - recovered} recoveries went wrong."
        ]
        for problem, at in found.items():
            lines += [f"  {problem}, when it was killed", *(f"    at {told(p)}" for p in at)]
        if any(" happened " in problem for problem in found):
            lines.append(
                "  A body that is cut off runs again. Give outside services"
                " `kitaru.current_call().idempotency_key`, and `record` it as `key=`."
            )
        return report, ["\n".join(lines)]

    # Entries from the top

    def enter_again(self, expected: Expected) -> tuple[dict[str, object], list[str]]:
        """Enter the run from the top after every recorded call; return a report, and what was found."""
        ended = self._in_child(self._new_case(), self._play_again_and_again)
        entries, problems = 1, list[str]()
        if ended.report is None:
            problems.append(f"it could not be run: {_last_line(ended.problem)}")
        else:
            entries = ended.report["entries"]
            problems = list(ended.report["divergences"])
            # An argument that differs explains the rest.
            problems = problems or expected.problems(ended.report)
        report: dict[str, object] = {
            "trial": "always replay",
            "flow": self._running.flow.name,
            "entries": entries,
            "problems": problems,
        }
        if not problems:
            return report, []
        lines = [
            f"flow {self._running.flow.name!r} is not the same when it is entered again from the top:",
            *(f"  {problem}" for problem in problems),
            "  A flow may depend on its arguments and on what checkpoints, `kitaru.now()`,"
            " `kitaru.random()` and `kitaru.uuid4()` return, and on nothing else.",
        ]
        return report, ["\n".join(lines)]

    # In the children

    def _in_child(self, case: Path, work: Callable[[], Report]) -> Ended:
        def prepared() -> Report:
            disturb_runs(None)
            for number, log in self._logs.items():
                log.move_to(case / f"effects-{number}.jsonl")
            with use_store(case / "store"):
                return work()

        return run_in_child(case, prepared, timeout=self._running.timeout + _GRACE_SECONDS)

    def _play_and_count(self) -> Report:
        counter = PointCounter()
        watch_points(counter.visit)
        with in_hand(self._running) as driver:
            report = self._play(driver)
        return {**report, "points": counter.points}

    def _play_to_death(self, point: Point) -> Report:
        counter = PointCounter(
            point, lambda: leave_note(self._case_of_child(), self._running.clock)
        )
        watch_points(counter.visit)
        with in_hand(self._running) as driver:
            return self._play(driver)

    def _recover(self) -> Report:
        take_note(self._case_of_child(), self._running.clock)
        with in_hand(self._running) as driver:
            return self._play(driver, self._find_root())

    def _play_again_and_again(self) -> Report:
        most = len(self._points) + _SPARE_ENTRIES
        entries = 1

        def visit(point: str, subject: object) -> None:
            nonlocal entries
            if point not in _RECORDED or not isinstance(subject, Call) or entries > most:
                return
            run = subject.scope.run
            # Bodies that are running would have to run again, which is the crash sweep's business.
            if not run.in_flight and run.signal is None:
                entries += 1
                run.release()
                if point != _CHILD_IS_THERE:  # it is still to be started
                    run.check()

        watch_points(visit)
        with in_hand(self._running, on_divergence=OnDivergence.FAIL) as driver:
            report = self._play(driver)
        return {**report, "entries": entries, "divergences": divergences_of(self._new_executions())}

    def _play(self, driver: Driver, exec_id: str | None = None) -> Report:
        """Run, or go on with an execution, and return what became of it."""
        # Whoever asked and has got no answer asks again.
        exec_id = exec_id or self._running.start().exec_id
        driver.see_through(exec_id)
        execution = KitaruClient().executions.get(exec_id)
        return {"outcome": outcome_of(execution), "effects": self._effects()}

    def _effects(self) -> list[dict[str, object]]:
        return [
            {"name": effect.name, "facts": effect.facts}
            for number, log in self._logs.items()
            for effect in list(log)[self._written[number] :]
        ]

    def _find_root(self) -> str | None:
        return next((e.exec_id for e in self._new_executions() if e.parent_exec_id is None), None)

    def _new_executions(self) -> list[Execution]:
        return [e for e in KitaruClient().executions.list() if e.exec_id not in self._known]

    def _case_of_child(self) -> Path:
        return settings.current().config_dir.parent

    def _new_case(self) -> Path:
        self._cases += 1
        case = self._folder / f"case-{self._cases}"
        shutil.copytree(self._snapshot, case / "store")
        return case


_CHILD_IS_THERE = "child.after_create"
_RECORDED = {"call.after_commit", "wait.after_commit", _CHILD_IS_THERE}


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it has said nothing"
