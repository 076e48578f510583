"""Group commit over a commit function that the test controls; nothing here takes time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from kitaru.errors import KitaruBackendError
from kitaru.model import Committed, JournalEntry, StoredValue, Write
from kitaru.store import journal_writer
from kitaru.store.journal_writer import JournalWriter
from tests.store.records import call, new_execution

PATIENCE = 30.0  # for what must happen at once; only a bug makes it run out


def write_of(name: str, size: int = 0) -> JournalEntry:
    calls = (call(output=StoredValue("kitaru/1", bytes(size), None, size)),) if size else ()
    return JournalEntry(exec_id=name, epoch=1, calls=calls)


def outcome_of(write: Write) -> Committed:
    # Told apart by identity: each write gets an object of its own.
    return outcomes.setdefault(name_of(write), Committed(held=True))


def name_of(write: Write) -> str:
    return write.exec_id if isinstance(write, JournalEntry) else write.id


outcomes: dict[str, Committed] = {}


class Commits:
    """A commit function that stops at a gate, and fails for chosen writes."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.threads: list[threading.Thread] = []
        self.entered = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)
        self.is_open = is_open
        self.errors: dict[str, BaseException] = {}
        self._inside = threading.Lock()

    def __call__(self, writes: Sequence[Write]) -> list[Committed]:
        assert self._inside.acquire(blocking=False), "two commits at once"
        try:
            names = [name_of(write) for write in writes]
            self.batches.append(names)
            self.threads.append(threading.current_thread())
            self.entered.release()
            if not self.is_open:
                assert self.may_go.acquire(timeout=PATIENCE)
            for name in names:
                if name in self.errors:
                    raise self.errors[name]
            return [outcome_of(write) for write in writes]
        finally:
            self._inside.release()

    def wait_inside(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE)

    def let_one_go(self) -> None:
        self.may_go.release()

    def open(self) -> None:
        self.is_open = True
        self.may_go.release(100)


def in_thread(work: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the tests look at it
            future.set_exception(error)

    threading.Thread(target=run).start()
    return future


def queued(writer: JournalWriter, number: int) -> None:
    """Wait until so many writes are in the queue."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE * 1000)):
        if len(writer._queue) >= number:
            return
        waiting.wait(0.001)
    pytest.fail("nobody queued up")


def write_in_thread(writer: JournalWriter, name: str, behind: int) -> Future[Any]:
    """Start a write and wait until it is the queue's `behind`th."""
    future = in_thread(lambda: writer.write(write_of(name)))
    queued(writer, behind)
    return future


def test_lone_write_is_committed_in_its_own_thread() -> None:
    commits = Commits()
    writer = JournalWriter(commits)
    threads = threading.enumerate()

    committed = writer.write(write_of("a"))

    assert committed is outcomes["a"]
    assert commits.threads == [threading.current_thread()]
    assert set(threading.enumerate()) <= set(threads)


def test_writes_that_come_during_a_commit_are_committed_together() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    others = [write_in_thread(writer, name, place) for place, name in enumerate("bcd", start=1)]

    commits.open()

    assert first.result(PATIENCE) is outcomes["a"]
    assert [other.result(PATIENCE) for other in others] == [outcomes[name] for name in "bcd"]
    assert commits.batches == [["a"], ["b", "c", "d"]]


def test_first_leader_returns_without_waiting_for_those_behind_it() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    second = write_in_thread(writer, "b", 1)

    commits.let_one_go()

    assert first.result(PATIENCE) is outcomes["a"]
    commits.wait_inside()
    assert not second.done()
    commits.open()
    second.result(PATIENCE)


def test_transaction_holds_no_more_than_256_writes() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    done = [Future[Any]() for _ in range(300)]
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    for number, future in enumerate(done):
        writer.submit(write_of(str(number)), future.set_result)

    commits.open()

    first.result(PATIENCE)
    for future in done:
        future.result(PATIENCE)
    assert [len(batch) for batch in commits.batches] == [1, 256, 44]


def test_transaction_holds_no_more_than_eight_mebibytes() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    done = [Future[Any]() for _ in range(5)]
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    for number, future in enumerate(done):
        writer.submit(write_of(str(number), size=3 * 1024 * 1024), future.set_result)

    commits.open()

    first.result(PATIENCE)
    for future in done:
        future.result(PATIENCE)
    assert commits.batches == [["a"], ["0", "1"], ["2", "3"], ["4"]]


def test_write_larger_than_a_transaction_may_be_is_committed_alone() -> None:
    commits = Commits()
    writer = JournalWriter(commits)

    writer.write(write_of("huge", size=9 * 1024 * 1024))

    assert commits.batches == [["huge"]]


def test_error_of_one_write_is_raised_to_it_alone() -> None:
    commits = Commits(is_open=False)
    commits.errors["c"] = KitaruBackendError("poisoned")
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    others = {
        name: write_in_thread(writer, name, place) for place, name in enumerate("bcd", start=1)
    }

    commits.open()

    first.result(PATIENCE)
    assert others["b"].result(PATIENCE) is outcomes["b"]
    assert others["d"].result(PATIENCE) is outcomes["d"]
    assert others["c"].exception(PATIENCE) is commits.errors["c"]
    assert commits.batches == [["a"], ["b", "c", "d"], ["b"], ["c"], ["d"]]


def test_store_that_was_waited_for_in_vain_is_not_waited_for_by_each() -> None:
    commits = Commits(is_open=False)
    commits.errors["b"] = commits.errors["c"] = KitaruBackendError("out of reach")
    writer = JournalWriter(commits, away_seconds=0.0)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    others = {
        name: write_in_thread(writer, name, place) for place, name in enumerate("bcd", start=1)
    }

    commits.open()

    first.result(PATIENCE)
    errors = [others[name].exception(PATIENCE) for name in "bcd"]
    assert [str(error) for error in errors] == ["out of reach"] * 3
    assert len({id(error) for error in errors}) == 3
    assert commits.batches == [["a"], ["b", "c", "d"], ["b"]]


def test_error_of_a_lone_write_is_raised_and_leaves_the_writer_usable() -> None:
    commits = Commits()
    commits.errors["a"] = KitaruBackendError("broken disk")
    writer = JournalWriter(commits)

    with pytest.raises(KitaruBackendError, match="broken disk"):
        writer.write(write_of("a"))

    assert writer.write(write_of("b")) is outcomes["b"]
    assert commits.batches == [["a"], ["b"]]


class Struck(BaseException):
    pass


def test_thread_that_is_struck_while_it_leads_passes_leadership_on() -> None:
    commits = Commits(is_open=False)
    commits.errors["a"] = Struck()
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    second = write_in_thread(writer, "b", 1)

    commits.open()

    assert isinstance(first.exception(PATIENCE), Struck)
    assert second.result(PATIENCE) is outcomes["b"]


def test_followers_of_a_struck_leader_are_committed_by_the_next() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    commits.errors["b"] = Struck()
    others = [write_in_thread(writer, name, place) for place, name in enumerate("bcd", start=1)]

    commits.open()

    first.result(PATIENCE)
    assert isinstance(others[0].exception(PATIENCE), Struck)
    assert [other.result(PATIENCE) for other in others[1:]] == [outcomes["c"], outcomes["d"]]
    assert commits.batches == [["a"], ["b", "c", "d"], ["c", "d"]]


def test_main_thread_commits_for_nobody_else() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    helper_done = in_thread(lambda: _let_others_in(writer, commits))

    writer.write(write_of("main"))

    first.result(PATIENCE)
    helper_done.result(PATIENCE).result(PATIENCE)
    assert commits.batches == [["a"], ["main"], ["b"]]


def _let_others_in(writer: JournalWriter, commits: Commits) -> Future[Any]:
    queued(writer, 1)
    behind = write_in_thread(writer, "b", 2)
    commits.open()
    return behind


def test_interrupted_follower_is_not_committed_and_strands_nobody() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    follower = interrupted_follower(writer)
    second = write_in_thread(writer, "c", 2)

    writer._leave(follower)
    commits.open()

    first.result(PATIENCE)
    assert second.result(PATIENCE) is outcomes["c"]
    assert commits.batches == [["a"], ["c"]]


def interrupted_follower(writer: JournalWriter) -> journal_writer._Ticket:
    """Return a follower whose thread is gone, as the main thread's is after Ctrl-C."""
    ticket = journal_writer._Ticket(write_of("b"))
    with writer._mutex:
        writer._enqueue(ticket)
    return ticket


def test_leader_that_is_interrupted_before_it_leads_passes_leadership_on() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    follower = interrupted_follower(writer)
    second = write_in_thread(writer, "c", 2)
    commits.open()
    first.result(PATIENCE)
    assert not second.done()

    writer._leave(follower)

    assert second.result(PATIENCE) is outcomes["c"]
    assert commits.batches == [["a"], ["c"]]


def test_submitted_write_is_told_from_another_thread() -> None:
    commits = Commits()
    writer = JournalWriter(commits)
    told: Future[Any] = Future()

    writer.submit(
        write_of("a"), lambda outcome: told.set_result((outcome, threading.current_thread()))
    )

    outcome, thread = told.result(PATIENCE)
    assert outcome is outcomes["a"]
    assert thread is not threading.current_thread()
    assert thread.daemon


def test_submitting_does_not_wait_for_a_commit_that_is_under_way() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    told = [Future[Any]() for _ in range(3)]
    for name, future in zip("abc", told, strict=True):
        writer.submit(write_of(name), future.set_result)
    commits.wait_inside()

    assert not any(future.done() for future in told)

    commits.open()
    assert [future.result(PATIENCE) for future in told] == [outcomes[name] for name in "abc"]


def test_submitted_writes_of_one_caller_are_committed_and_told_in_order() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    names = [f"w{number}" for number in range(500)]
    told: list[Committed | BaseException] = []
    last: Future[Any] = Future()

    for name in names:
        writer.submit(write_of(name), told.append)
    writer.submit(write_of("last"), last.set_result)
    commits.open()
    last.result(PATIENCE)

    assert told == [outcomes[name] for name in names]
    assert [name for batch in commits.batches for name in batch] == [*names, "last"]


def test_submitted_and_waited_for_writes_share_transactions() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    told: Future[Any] = Future()
    second = write_in_thread(writer, "b", 1)
    writer.submit(write_of("c"), told.set_result)
    third = write_in_thread(writer, "d", 3)

    commits.open()

    results = [future.result(PATIENCE) for future in [first, second, told, third]]
    assert results == [outcomes[name] for name in "abcd"]
    assert commits.batches == [["a"], ["b", "c", "d"]]


def test_error_of_a_submitted_write_is_told_to_it() -> None:
    commits = Commits()
    commits.errors["a"] = KitaruBackendError("no")
    commits.errors["b"] = Struck()
    writer = JournalWriter(commits)
    first, second, third = Future[Any](), Future[Any](), Future[Any]()

    writer.submit(write_of("a"), first.set_result)
    assert first.result(PATIENCE) is commits.errors["a"]
    writer.submit(write_of("b"), second.set_result)
    assert second.result(PATIENCE) is commits.errors["b"]
    writer.submit(write_of("c"), third.set_result)

    assert third.result(PATIENCE) is outcomes["c"]


def test_callback_that_fails_does_not_keep_others_from_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer = JournalWriter(Commits())
    told: Future[Any] = Future()

    def fail(_: object) -> None:
        raise ValueError("a bug in the loop")

    writer.submit(write_of("a"), fail)
    writer.submit(write_of("b"), told.set_result)

    assert told.result(PATIENCE) is outcomes["b"]
    assert "an errand failed" in caplog.text


def test_new_executions_are_weighed_by_their_inputs() -> None:
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    size = 5 * 1024 * 1024
    told = [Future[Any](), Future[Any]()]
    for future in told:
        inputs = StoredValue("kitaru/1", bytes(size), None, size)
        writer.submit(new_execution(inputs=inputs), future.set_result)

    commits.open()

    first.result(PATIENCE)
    for future in told:
        future.result(PATIENCE)
    assert [len(batch) for batch in commits.batches] == [1, 1, 1]


def test_creations_and_records_are_committed_apart() -> None:
    """Who creates is to hear soon that the store is away, while records are waited with."""
    commits = Commits(is_open=False)
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("a")))
    commits.wait_inside()
    creations = [new_execution(), new_execution()]
    writes: list[Write] = [write_of("b"), *creations, write_of("c")]
    told = [Future[Any]() for _ in writes]
    for write, future in zip(writes, told, strict=True):
        writer.submit(write, future.set_result)

    commits.open()

    first.result(PATIENCE)
    for future in told:
        future.result(PATIENCE)
    assert commits.batches == [["a"], ["b"], [creation.id for creation in creations], ["c"]]


@pytest.mark.parametrize("share_submitted", [0.0, 0.5, 1.0])
def test_no_write_of_sixty_four_threads_is_lost_or_made_twice(share_submitted: float) -> None:
    commits = Commits()
    commits.errors = {f"{thread}.{number}": ValueError() for thread in range(64) for number in [7]}
    writer = JournalWriter(commits)
    start = threading.Barrier(64)
    results: dict[str, Any] = {}

    def work(thread: int) -> None:
        start.wait(PATIENCE)
        for number in range(20):
            name = f"{thread}.{number}"
            if thread < 64 * share_submitted:
                told: Future[Any] = Future()
                writer.submit(write_of(name), told.set_result)
                results[name] = told.result(PATIENCE)
            else:
                try:
                    results[name] = writer.write(write_of(name))
                except ValueError as error:
                    results[name] = error

    threads = [in_thread(lambda thread=thread: work(thread)) for thread in range(64)]
    for thread in threads:
        thread.result(PATIENCE)

    assert len(results) == 64 * 20
    for name, result in results.items():
        assert result is (commits.errors.get(name) or outcomes[name])
    written = [name for batch in commits.batches for name in batch if name not in commits.errors]
    in_order = [name for name in written if name.startswith("3.")]
    assert sorted(set(in_order), key=in_order.index) == [f"3.{n}" for n in range(20) if n != 7]
    assert writer._leader is None
    assert not writer._queue


def writer_whose_last_commit_had_two_writes(commits: Commits) -> JournalWriter:
    writer = JournalWriter(commits)
    first = in_thread(lambda: writer.write(write_of("first")))
    commits.wait_inside()
    pair = [write_in_thread(writer, name, place) for place, name in enumerate("ab", start=1)]
    commits.open()
    for done in (first, *pair):
        done.result(PATIENCE)
    return writer


def test_leader_whose_predecessor_had_company_waits_for_as_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_writer, "_PATIENCE_IN_FLUSHES", 1e9)
    monkeypatch.setattr(journal_writer, "_MAX_PATIENCE_SECONDS", PATIENCE)
    commits = Commits(is_open=False)
    writer = writer_whose_last_commit_had_two_writes(commits)

    early = write_in_thread(writer, "early", 1)
    late = in_thread(lambda: writer.write(write_of("late")))

    early.result(PATIENCE)
    late.result(PATIENCE)
    assert commits.batches[-1] == ["early", "late"]


def test_leader_that_waited_in_vain_is_the_last_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_writer, "_MAX_PATIENCE_SECONDS", 0.0)
    commits = Commits(is_open=False)
    writer = writer_whose_last_commit_had_two_writes(commits)

    in_thread(lambda: writer.write(write_of("alone"))).result(PATIENCE)
    monkeypatch.setattr(journal_writer, "_MAX_PATIENCE_SECONDS", PATIENCE)
    in_thread(lambda: writer.write(write_of("again"))).result(PATIENCE)

    assert commits.batches[-2:] == [["alone"], ["again"]]
