"""Runs scenarios in processes of their own, kills them, and says what must hold afterwards."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kitaru.blobs import BlobStore, open_blobs
from kitaru.engine.values import Values
from kitaru.model import (
    AttemptRecord,
    CallRecord,
    CallStatus,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
    WaitKind,
    WaitRecord,
    WaitStatus,
)
from kitaru.store import open_store
from kitaru.store.contract import Store
from tests.crash.preloaded import Preloaded
from tests.crash.scenarios.kit import rows_of
from tests.stores import FILE, Place, Places

T = TypeVar("T")

FOLDER = Path(__file__).parent / "scenarios"
HELPERS = {
    *("kit", "person", "continue_all", "gated", "deadly", "unwaited", "questions", "answer"),
    *("archive", "tidy", "churn", "migrate", "steady"),
}
SCENARIOS = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in HELPERS)
CONTINUE = "continue_all"

KILLED = -signal.SIGKILL
PATIENCE_SECONDS = 60  # for a process that should take half a second, on a machine that is busy


preloaded = Preloaded()
"""Runs scripts that are only waited for; `conftest.py` ends it."""


@dataclass(frozen=True)
class Case:
    """A folder with the effects of one scenario's run, and a place for its executions.

    Attributes:
        given: The place; None for files in the folder.
    """

    folder: Path
    scenario: str
    given: Place | None = None

    @property
    def place(self) -> Place:
        return self.given or Place.in_folder(self.folder)

    def script(self, name: str | None = None) -> Path:
        return FOLDER / f"{name or self.scenario}.py"

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "KITARU_CONFIG_PATH": str(self.folder),
            "CRASH_DIR": str(self.folder),
            **self.place.environment(),
            **more,
        }

    def run(
        self,
        name: str | None = None,
        *,
        at: tuple[str, int] | None = None,
        arguments: Sequence[str] = (),
    ) -> Ended:
        """Run the scenario, or another script on the same store, to its end or its death."""
        more = {} if at is None else {"CRASH_AT": f"{at[0]}:{at[1]}"}
        # What is measured is measured from its start.
        if not {"COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"} & os.environ.keys():
            file = self.folder / "output"
            file.unlink(missing_ok=True)
            pid, status = preloaded.run(
                self.script(name),
                arguments,
                folder=self.folder,
                environment=self.environment(**more),
                output=file,
            )
            return Ended(pid, status, file.read_text())
        process = self.start(self.script(name), *arguments, **more)
        try:
            output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            raise AssertionError(f"{name or self.scenario} hangs\n{output}{errors}") from None
        return Ended(process.pid, process.returncode, f"{output}{errors}")

    def start(self, script: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=self.folder,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_line(self, name: str, count: int = 1) -> None:
        """Wait until a process of this case has added so many lines to a file."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.lines(name)) < count:
            assert time.monotonic() < deadline, f"no {count} lines in {name!r}"
            time.sleep(0.005)

    def until(self, condition: Callable[[Store], T | None]) -> T:
        """Return what a condition on the store returns once it is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self.store() as store:
            while not (found := condition(store)):
                assert time.monotonic() < deadline, "it does not come about"
                time.sleep(0.005)
            return found

    def allow(self, name: str) -> None:
        """Let bodies go on that wait for a file."""
        (self.folder / name).touch()

    def visits(self, ended: Ended) -> collections.Counter[str]:
        """Return how often a process that lived to its end came by each fault point."""
        found = (self.folder / f"visits-{ended.pid}").read_text()
        return collections.Counter(json.loads(found))

    def lines(self, name: str) -> list[dict[str, Any]]:
        file = self.folder / name
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text().splitlines()]

    def effects(self) -> list[Effect]:
        return [Effect(**line) for line in self.lines("effects")]

    @contextmanager
    def store(self) -> Iterator[Store]:
        store = open_store(self.place.store_url)
        try:
            yield store
        finally:
            store.close()

    def blobs(self) -> BlobStore:
        return open_blobs(self.place.artifact_store)

    def state(self) -> State:
        with self.store() as store:
            everything = ExecutionFilter(project="default")
            executions = store.list_executions(everything, limit=1000)[::-1]
            return State(
                executions,
                {execution.id: store.list_calls(execution.id) for execution in executions},
                {execution.id: store.list_attempts(execution.id) for execution in executions},
                {execution.id: store.list_waits(execution.id) for execution in executions},
            )

    def results(self) -> dict[str, list[Any]]:
        """Return what the executions of each flow returned, in no particular order."""
        values = Values(self.blobs())
        results: dict[str, list[Any]] = {}
        for execution in self.state().executions:
            value = None if execution.result is None else values.load(execution.result)
            results.setdefault(execution.flow, []).append(value)
        return results


class Cases:
    """Makes cases of one kind of store, one after the other: a place is emptied for the next.

    Args:
        places: Where empty places come from.
        kind: Of the store.
    """

    def __init__(self, places: Places, kind: str) -> None:
        self._places = places
        self.kind = kind
        self._stack = contextlib.ExitStack()

    def new(self, folder: Path, scenario: str) -> Case:
        """Return a case in which nothing is. Files stay; otherwise the case before is over by that."""
        folder.mkdir(parents=True, exist_ok=True)
        self.close()
        return Case(
            folder, scenario, self._stack.enter_context(self._places.empty(self.kind, folder))
        )

    def close(self) -> None:
        """Give the place back."""
        self._stack.close()


@dataclass(frozen=True)
class Ended:
    pid: int
    status: int
    output: str


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; return its status and what it has written."""
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, output + errors


@dataclass(frozen=True)
class Effect:
    """One running of a body."""

    exec_id: str
    position: str
    attempt: int
    identity: str
    pid: int


@dataclass(frozen=True)
class State:
    """What a store holds at some moment."""

    executions: list[ExecutionRecord]
    calls: Mapping[str, list[CallRecord]]
    attempts: Mapping[str, list[AttemptRecord]]
    waits: Mapping[str, list[WaitRecord]]

    def questions(self) -> collections.Counter[tuple[str, str]]:
        """Return how often each flow has asked what, in the scenario's own terms."""
        return collections.Counter(
            (execution.flow, wait.question or wait.name)
            for execution in self.executions
            for wait in self.waits[execution.id]
            if wait.kind is not WaitKind.CHILD  # noted only where the parent had the time to leave
        )

    def is_settled(self, effect: Effect) -> bool:
        """Whether this running of a body left a record that it must never run again after."""
        for call in self.calls.get(effect.exec_id, ()):
            # A failed call may be reopened, when a failed flow is tried again; its attempts count.
            is_final = call.status in {CallStatus.COMPLETED, CallStatus.CACHED}
            if call.position == effect.position and is_final:
                return True
        return any(
            (attempt.position, attempt.number) == (effect.position, effect.attempt)
            for attempt in self.attempts.get(effect.exec_id, ())
        )


@dataclass(frozen=True)
class Clean:
    """How a scenario goes when nobody kills it."""

    visits: collections.Counter[str]
    results: dict[str, list[Any]]
    effects: collections.Counter[str]
    questions: collections.Counter[tuple[str, str]]
    recovery_visits: collections.Counter[str]

    def strikes(self, point: str) -> list[int]:
        """Return at which visits of a point to strike: the first, the middle one and the last.

        Scenarios that ask are slower, and what has nothing to do with questions is struck in the others.
        """
        visits = self.visits[point]
        found = strikes(visits)
        if not self.questions:
            return found
        kind = point.partition(".")[0]
        if kind in {"migration", "execution"}:
            return []
        if kind == "call":
            return found[len(found) // 2 :][:1]
        return found if visits > 4 else sorted({*found[:1], *found[-1:]})

    def strike_of(self, point: str, chooser: str) -> list[int]:
        """Return one of the visits to strike at, always the same for one `chooser`."""
        found = self.strikes(point)
        return found and [found[zlib.crc32(chooser.encode()) % len(found)]]


def check_unharmed(case: Case, clean: Clean, before: Sequence[tuple[State, int]]) -> None:
    """Assert everything that was promised to a case that was killed and recovered.

    Args:
        case: The case, after the last recovery.
        clean: How it goes without a kill.
        before: For each death: the state of the store then, and how many effects there had been.
    """
    state = case.state()
    accepted = {line["exec_id"] for line in case.lines("accepted")}
    assert accepted <= {execution.id for execution in state.executions}
    for execution in state.executions:
        assert execution.status is ExecutionStatus.COMPLETED, execution
        assert execution.lease_owner is None
        assert execution.ended_at is not None
        open_calls = [c for c in state.calls[execution.id] if not c.status.is_recorded]
        assert not open_calls
    for flow, results in case.results().items():
        expected = list(clean.results[flow])
        for result in results:
            assert result in expected, f"{flow} returned {result!r}, not one of {expected!r}"
            expected.remove(result)
    effects = case.effects()
    ends = [count for _, count in before[1:]] + [len(effects)]
    check_nothing_ran_again(case, before)
    for (then, count), end in zip(before, ends, strict=True):
        _check_only_what_was_missing_ran(effects[:count], effects[count:end], then, clean)
    check_answers(case, [then for then, _ in before])
    again = state.questions() - clean.questions
    assert not again, f"asked under several ids: {again}"
    with case.store() as store:
        for line in case.lines("origin"):
            found = rows_of(store, line["exec_id"])
            assert found == line["rows"], "the replayed execution has changed"
    check_files(case)


def check_nothing_ran_again(case: Case, before: Sequence[tuple[State, int]]) -> None:
    """Assert that no body ran after a death whose end was recorded then."""
    effects = case.effects()
    for then, count in before:
        again = [effect for effect in effects[count:] if then.is_settled(effect)]
        assert not again, f"recorded, and run again: {again}"


def _check_only_what_was_missing_ran(
    earlier: list[Effect], later: list[Effect], then: State, clean: Clean
) -> None:
    # In the scenario's own terms, wherever the records stand: a call that found another call's record
    # would leave that other call without one.
    settled = {
        (e.exec_id, e.position, e.attempt): e.identity for e in earlier if then.is_settled(e)
    }
    due = clean.effects - collections.Counter(settled.values())
    surplus = collections.Counter(effect.identity for effect in later) - due
    assert not surplus, f"run more often than what was missing: {surplus}"


def check_answers(case: Case, before: Sequence[State]) -> None:
    """Assert that each question of a case that is over had one answer, and that the flow got that one.

    Args:
        case: The case, after the last recovery.
        before: The store at each death.
    """
    state = case.state()
    values = Values(case.blobs())
    rows = {(wait.exec_id, wait.position): wait for of in state.waits.values() for wait in of}
    calls = {(exec_id, c.position): c for exec_id, of in state.calls.items() for c in of}
    retries_left = {execution.id: execution.retries_left for execution in state.executions}
    for then in before:
        for execution in then.executions:
            waits = execution.status is ExecutionStatus.WAITING
            assert not (waits and execution.lease_owner), f"it waits with a lease: {execution}"
            is_same_try = execution.retries_left == retries_left[execution.id]
            for wait in then.waits[execution.id]:
                now = rows[wait.exec_id, wait.position]
                # A flow may refuse an answer, and a flow that is tried again asks again.
                if wait.status is not WaitStatus.OPEN and is_same_try and now.problem is None:
                    assert now == wait, f"it was over before: {wait}, now {now}"
    for wait in rows.values():
        assert wait.status is not WaitStatus.OPEN
        call = calls[wait.exec_id, wait.position]
        if wait.answer is not None and wait.kind is WaitKind.INPUT:
            assert call.output is not None
            assert values.load(call.output) == json.loads(wait.answer)
    accepted: set[tuple[str, str]] = set()
    for line in case.lines("answered"):
        where = (line["exec_id"], line["position"])
        if not line["is_last"]:
            continue
        assert where not in accepted, f"answered twice: {line}"
        accepted.add(where)
        answer = rows[where].answer
        assert (None if answer is None else json.loads(answer)) == line["answer"]
    for line in case.lines("got"):
        exec_id, identity = line["exec_id"], line["identity"]
        asked = {w.position for w in state.waits[exec_id] if identity in {w.name, w.question}}
        # An answer that a replay has taken over has no question there.
        asked |= {c.position for c in state.calls[exec_id] if identity == c.name}
        assert len(asked) == 1, f"who has asked {line}: {asked}"
        output = calls[exec_id, asked.pop()].output
        assert line["value"] == (None if output is None else values.load(output))


def check_files(case: Case) -> None:
    """Assert that the store and the blobs are whole."""
    if case.place.kind == FILE:
        connection = sqlite3.connect(case.folder / "kitaru.db")
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        finally:
            connection.close()
    blobs = case.blobs()
    with case.store() as store:
        assert store.verify() == []
        for digest in store.list_blob_digests():
            assert blobs.get(digest)


def strikes(visits: int) -> list[int]:
    """Return which visits to strike at: the first, the middle one and the last."""
    return sorted({1, (visits + 1) // 2, visits}) if visits else []
