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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from kitaru.model import ExecutionFilter, ExecutionStatus
from kitaru.store.journal_writer import JournalWriter
from kitaru.store.leases import list_running
from kitaru.store.sqlite import SQLiteStore
from tests.store.records import call, commit_one, create, entry, new_execution, run

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
