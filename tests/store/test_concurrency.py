"""Many threads and processes on one file, without an error and without a loss."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest

from kitaru.errors import KitaruStateError
from kitaru.model import ExecutionFilter, ExecutionStatus
from kitaru.store.journal_writer import JournalWriter
from kitaru.store.leases import list_running
from kitaru.store.sqlite import SQLiteStore
from tests.store.records import (
    NOW,
    answered,
    call,
    child_wait,
    commit_one,
    completed,
    create,
    entry,
    new_execution,
    park,
    parked,
    question,
    run,
    timer,
)

ROOT = Path(__file__).parents[2]
EVERYTHING = ExecutionFilter(project="default")


def in_processes(task: str, path: Path, processes: int, number: int) -> list[list[str]]:
    """Run a task of `processes.py` in several processes that begin at once."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.store.processes", task, str(path), f"p{each}", str(number)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for each in range(processes)
    ]  # fmt: skip
    for process in running:
        assert process.stdin is not None
        process.stdin.write("g")
        process.stdin.flush()
    results: list[list[str]] = []
    for process in running:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        results.append(json.loads(out))
    return results


@pytest.mark.slow
def test_four_processes_work_on_one_fresh_file_without_an_error(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"

    done = in_processes("churn", path, 4, 50)

    store = SQLiteStore(path)
    assert sum(map(len, done)) == 200
    assert store.count_executions(EVERYTHING) == 200
    completed = ExecutionFilter(project="default", status=ExecutionStatus.COMPLETED)
    assert store.count_executions(completed) == 200
    assert store.verify() == []
    store.close()


@pytest.mark.slow
def test_every_pending_execution_is_won_by_one_process(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    store = SQLiteStore(path)
    store.commit([new_execution(id=f"x{number}") for number in range(60)])

    won = in_processes("grab", path, 3, 60)

    assert sorted(exec_id for each in won for exec_id in each) == sorted(
        f"x{number}" for number in range(60)
    )
    owners = Counter(execution.lease_owner for execution in store.list_running())
    assert owners == {f"p{each}": len(ids) for each, ids in enumerate(won) if ids}
    store.close()


@pytest.mark.slow
def test_one_key_makes_one_execution_among_processes(tmp_path: Path) -> None:
    created = in_processes("same_key", tmp_path / "kitaru.db", 3, 30)

    keys = [exec_id.split("-")[1] for each in created for exec_id in each]
    assert sorted(keys, key=int) == [str(number) for number in range(30)]


def test_threads_share_a_store(sqlite_store: SQLiteStore) -> None:
    writer = JournalWriter(sqlite_store.commit)
    executions = [run(sqlite_store) for _ in range(4)]

    def work(thread: int) -> None:
        execution = executions[thread % 4]
        for number in range(20):
            assert writer.write(entry(execution, call(f"t{thread}#{number}"))).held
            assert len(sqlite_store.list_calls(execution.id)) > number
            sqlite_store.get_execution(execution.id)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))

    for execution in executions:
        calls = [row.position for row in sqlite_store.list_calls(execution.id)]
        assert len(calls) == len(set(calls)) == 80
        for thread in {position.split("#")[0] for position in calls}:
            mine = [position for position in calls if position.startswith(f"{thread}#")]
            assert mine == [f"{thread}#{number}" for number in range(20)]


def test_flow_per_thread_leaves_no_file_open(sqlite_store: SQLiteStore) -> None:
    execution = create(sqlite_store)
    barrier = threading.Barrier(20)

    def read() -> None:
        barrier.wait(30)
        for _ in range(5):
            sqlite_store.get_execution(execution.id)

    def open_files() -> int:
        return psutil.Process().num_fds() if hasattr(psutil.Process, "num_fds") else 0

    before = open_files()
    for _ in range(3):
        threads = [threading.Thread(target=read) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # Eight readers at most, with the file and its log open in each.
    assert open_files() <= before + 2 * 8


def test_reading_does_not_wait_for_a_transaction_that_is_open(sqlite_store: SQLiteStore) -> None:
    execution = run(sqlite_store)
    inside, may_end = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        inside.set()
        assert may_end.wait(30)

    writing = threading.Thread(target=lambda: sqlite_store._database.write(hold))
    writing.start()
    assert inside.wait(30)

    found = sqlite_store.get_execution(execution.id)

    assert writing.is_alive()
    assert found == execution
    may_end.set()
    writing.join()


def test_transaction_of_another_program_is_waited_for(sqlite_store: SQLiteStore) -> None:
    execution = run(sqlite_store)
    browser = sqlite3.connect(sqlite_store.path, isolation_level=None, check_same_thread=False)
    browser.execute("BEGIN IMMEDIATE")
    begun = threading.Event()

    def commit() -> None:
        begun.set()
        assert commit_one(sqlite_store, entry(execution, call())).held

    writing = threading.Thread(target=commit)
    writing.start()
    assert begun.wait(30)
    assert sqlite_store.list_calls(execution.id) == []
    browser.execute("COMMIT")
    writing.join()

    assert sqlite_store.list_calls(execution.id) == [call()]
    browser.close()


def _in_child(store: SQLiteStore, connection: object) -> None:
    execution = run(store, id="child")
    commit_one(store, entry(execution, call()))
    connection.send([row.position for row in store.list_calls("parent")])  # pyright: ignore[reportAttributeAccessIssue] - a Connection
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_and_its_parent_both_go_on(sqlite_store: SQLiteStore) -> None:
    parent = run(sqlite_store, id="parent")
    commit_one(sqlite_store, entry(parent, call("before#1")))
    sqlite_store.list_running()
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    child = context.Process(target=_in_child, args=(sqlite_store, sending))
    child.start()
    seen = receiving.recv()
    commit_one(sqlite_store, entry(parent, call("after#1")))
    child.join(30)

    assert child.exitcode == 0
    assert seen == ["before#1"]
    assert [row.position for row in sqlite_store.list_calls("parent")] == ["before#1", "after#1"]
    assert sqlite_store.list_calls("child") == [call()]
    assert sqlite_store.verify() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_waits_for_transactions_and_reads_of_other_threads(sqlite_store: SQLiteStore) -> None:
    stop = threading.Event()
    execution = run(sqlite_store, id="parent")
    writer = JournalWriter(sqlite_store.commit)

    def work(thread: int) -> int:
        number = 0
        while not stop.is_set():
            assert writer.write(entry(execution, call(f"t{thread}#{number}"))).held
            sqlite_store.get_execution("parent")
            number += 1
        return number

    with ThreadPoolExecutor(4) as pool:
        counts = [pool.submit(work, thread) for thread in range(4)]
        for number in range(5):
            child = os.fork()
            if child == 0:
                # A child that may not use what its parent had open, but everything else.
                code = 1
                try:
                    mine = writer.write(new_execution(id=f"child-{number}"))
                    sqlite_store.list_calls("parent")
                    code = 0 if mine.created else 1
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            assert status == 0
        stop.set()
        written = sum(count.result(30) for count in counts)

    assert len(sqlite_store.list_calls("parent")) == written
    assert sqlite_store.count_executions(EVERYTHING) == 6
    assert sqlite_store.verify() == []


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Let all act at the same time; return what they returned, or the error that was raised."""
    barrier = threading.Barrier(len(acts))

    def act(step: Callable[[], object]) -> object:
        barrier.wait(30)
        try:
            return step()
        except KitaruStateError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(act, acts))


@pytest.fixture
def other_store(sqlite_store: SQLiteStore) -> Iterator[SQLiteStore]:
    """Return the same file as another process would have it open, with connections of its own."""
    opened = SQLiteStore(sqlite_store.path)
    yield opened
    opened.close()


def test_of_two_answers_at_once_one_wins(
    sqlite_store: SQLiteStore, other_store: SQLiteStore
) -> None:
    for _ in range(30):
        execution = run(sqlite_store)
        wait = question(execution)
        park(sqlite_store, wait, execution=execution)

        def answer(
            store: SQLiteStore, by: str, exec_id: str = execution.id, position: str = wait.position
        ) -> object:
            return store.resolve_wait(exec_id, position, answered(by=by), now=NOW)

        answers = at_once(partial(answer, sqlite_store, "me"), partial(answer, other_store, "you"))

        [kept] = sqlite_store.list_waits(execution.id)
        assert [kept == one for one in answers].count(True) == 1
        assert [isinstance(one, KitaruStateError) for one in answers].count(True) == 1


def test_answer_that_comes_while_an_execution_parks_wakes_it(
    sqlite_store: SQLiteStore, other_store: SQLiteStore
) -> None:
    for is_asked_before in [True, False] * 20:
        execution = run(sqlite_store)
        wait = question(execution)
        if is_asked_before:
            commit_one(sqlite_store, entry(execution, waits=(wait,)))
        waits = () if is_asked_before else (wait,)
        writing = entry(execution, waits=waits, outcome=parked(wait.position))

        def resolve(exec_id: str = execution.id, position: str = wait.position) -> None:
            while not other_store.list_waits(exec_id):
                pass
            other_store.resolve_wait(exec_id, position, answered(), now=NOW)

        at_once(partial(commit_one, sqlite_store, writing), resolve)

        assert sqlite_store.get_execution(execution.id).status is ExecutionStatus.PENDING


def test_child_that_ends_while_its_parent_parks_wakes_it(
    sqlite_store: SQLiteStore, other_store: SQLiteStore
) -> None:
    for _ in range(30):
        parent = run(sqlite_store)
        child = run(sqlite_store, parent_id=parent.id, parent_position="c#1")
        wait = child_wait(parent, child.id)
        writing = entry(parent, waits=(wait,), outcome=parked(wait.position))

        at_once(
            partial(commit_one, sqlite_store, writing),
            partial(commit_one, other_store, entry(child, outcome=completed())),
        )

        assert sqlite_store.get_execution(parent.id).status is ExecutionStatus.PENDING
    assert sqlite_store.verify() == []


def test_due_waits_are_ended_once_by_all_who_look(
    sqlite_store: SQLiteStore, other_store: SQLiteStore
) -> None:
    for number in range(40):
        execution = run(sqlite_store)
        park(sqlite_store, timer(execution, wake_at=NOW + number), execution=execution)

    def wake(store: SQLiteStore) -> list[str]:
        woken: list[str] = []
        while some := store.wake_due(now=2 * NOW, limit=3):
            woken += some
        return woken

    mine, others = at_once(partial(wake, sqlite_store), partial(wake, other_store))

    assert isinstance(mine, list)
    assert isinstance(others, list)
    everyone = sqlite_store.find_pending_ids(now=2 * NOW, limit=99)
    assert sorted(mine + others) == sorted(everyone)
    assert len(everyone) == 40


def test_who_looks_for_something_to_do_does_not_wait_for_writers(
    sqlite_store: SQLiteStore,
) -> None:
    execution = run(sqlite_store)
    park(sqlite_store, timer(execution, wake_at=2 * NOW), execution=execution)
    stranger = sqlite3.connect(sqlite_store.path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")

    assert sqlite_store.wake_due(now=NOW, limit=9) == []
    assert sqlite_store.wake_due(now=3 * NOW, limit=9, exec_ids=["x"]) == []
    assert sqlite_store.find_pending_ids(now=NOW, limit=9) == []

    stranger.close()
    assert sqlite_store.wake_due(now=3 * NOW, limit=9) == [execution.id]


def test_closed_store_opens_again_at_its_next_use(sqlite_store: SQLiteStore) -> None:
    execution = run(sqlite_store)
    sqlite_store.close()
    sqlite_store.close()

    assert sqlite_store.get_execution(execution.id) == execution
    sqlite_store.close()
    assert commit_one(sqlite_store, entry(execution, call())).held


def test_closed_store_is_one_file(sqlite_store: SQLiteStore) -> None:
    run(sqlite_store)
    sqlite_store.list_running()

    sqlite_store.close()

    assert [file.name for file in sqlite_store.path.parent.iterdir()] == ["kitaru.db"]


@pytest.mark.skipif(os.name == "nt", reason="files that are open cannot be removed")
@pytest.mark.parametrize("is_replaced", [False, True])
def test_new_execution_is_kept_where_the_url_leads_though_the_file_was_removed(
    sqlite_store: SQLiteStore, *, is_replaced: bool
) -> None:
    run(sqlite_store, id="old")
    sqlite_store.list_running()
    for file in sqlite_store.path.parent.iterdir():
        file.unlink()
    other = SQLiteStore(sqlite_store.path) if is_replaced else None

    new = create(sqlite_store, id="new")

    other = other or SQLiteStore(sqlite_store.path)
    assert other.list_executions(EVERYTHING, limit=9) == [new]
    assert sqlite_store.list_executions(EVERYTHING, limit=9) == [new]
    assert sqlite_store.verify() == []
    sqlite_store.close()
    assert other.get_execution("new") == new
    assert other.verify() == []
    other.close()


@pytest.mark.skipif(os.name == "nt", reason="files that are open cannot be removed")
def test_reading_begun_before_the_file_was_removed_ends_and_is_not_repeated(
    sqlite_store: SQLiteStore,
) -> None:
    run(sqlite_store, id="old")
    database = sqlite_store._database

    def read(session: object) -> list[str]:
        for file in sqlite_store.path.parent.iterdir():
            file.unlink()
        create(sqlite_store, id="new")
        return [row.id for row in list_running(session)]  # pyright: ignore[reportArgumentType] - a session

    assert database.read(read) == ["old"]
    assert sqlite_store.find_execution_ids("") == ["new"]
