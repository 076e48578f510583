"""Postgres is restarted, killed, cut off, pooled, full, or not ours: nothing is lost or done twice."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from kitaru.errors import KitaruBackendError, KitaruStateError, KitaruUsageError
from kitaru.model import CallStatus, ExecutionFilter, ExecutionStatus
from kitaru.store import Store
from kitaru.store.journal_writer import JournalWriter
from kitaru.store.postgres import PostgresStore
from tests.postgres import PATIENCE_SECONDS, Databases, PostgresServer, free_port
from tests.relay import Relay
from tests.store.records import (
    FAILURE,
    NOW,
    answered,
    call,
    child_wait,
    claim,
    commit_one,
    completed,
    create,
    entry,
    event,
    log_line,
    new_execution,
    parked,
    question,
    run,
)

EVERYTHING = ExecutionFilter(project="default")
# The ends of answers that say that something was committed: a transaction, or a statement outside of any.
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
OUTSIDE = b"\x00Z\x00\x00\x00\x05I"
COMMITTED_BY_ITSELF = (b"INSERT 0 1" + OUTSIDE, b"SELECT 1" + OUTSIDE)


@pytest.fixture
def lossy(postgres_url: str) -> Iterator[tuple[Relay, PostgresStore]]:
    """Return a store behind a relay, and the relay."""
    port = urlsplit(postgres_url).port
    assert port is not None
    with Relay(port) as between:
        store = PostgresStore(postgres_url.replace(f":{port}/", f":{between.port}/"))
        store.list_running()
        yield between, store
        store.close()


def lose_next_answer(between: Relay, words: tuple[bytes, ...]) -> threading.Lock:
    """Break the connection in place of the next word of a commit; return what is locked then."""
    due = threading.Lock()

    def passes(data: bytes) -> bool:
        return not any(word in data for word in words) or not due.acquire(blocking=False)

    between.answers = passes
    return due


Act = Callable[[Store], object]


def _outcome(store: Store) -> tuple[Act, object]:
    execution = run(store)
    return partial(commit_one, write=entry(execution, call(), outcome=completed())), execution.id


def _call(store: Store) -> tuple[Act, object]:
    execution = run(store)
    return partial(commit_one, write=entry(execution, call())), execution.id


def _end(store: Store) -> tuple[Act, object]:
    execution = run(store)
    told = event("told")
    return partial(
        commit_one, write=entry(execution, outcome=completed(), events=(told,))
    ), execution.id


def _creation(_: Store) -> tuple[Act, object]:
    new = new_execution(claim=claim())
    return partial(commit_one, write=new), new.id


def _answer(store: Store) -> tuple[Act, object]:
    execution = run(store)
    wait = question(execution)
    commit_one(store, entry(execution, waits=(wait,), outcome=parked(wait.position)))
    return lambda s: s.resolve_wait(execution.id, wait.position, answered(), now=NOW), execution.id


def _claim(store: Store) -> tuple[Act, object]:
    execution = create(store)
    return lambda s: s.claim_executions(claim(), now=NOW, limit=1), execution.id


def _cancel(store: Store) -> tuple[Act, object]:
    execution = create(store)
    return lambda s: s.request_cancel(execution.id, by="me", now=NOW), execution.id


def _delete(store: Store) -> tuple[Act, object]:
    execution = run(store)
    commit_one(store, entry(execution, outcome=completed()))
    return lambda s: s.delete_execution(execution.id), execution.id


def _log(store: Store) -> tuple[Act, object]:
    execution = run(store)
    return lambda s: s.append_logs([log_line(execution.id)]), execution.id


@pytest.mark.parametrize(
    "prepare",
    [_outcome, _call, _end, _creation, _answer, _claim, _cancel, _delete, _log],
    ids=lambda f: f.__name__[1:],
)
def test_commit_whose_answer_is_lost_is_neither_lost_nor_done_twice(
    lossy: tuple[Relay, PostgresStore],
    databases: Databases,
    prepare: Callable[[Store], tuple[Act, object]],
) -> None:
    between, store = lossy
    act, exec_id = prepare(store)
    with databases.empty() as url:
        other = PostgresStore(url)
        undisturbed_act, other_id = prepare(other)
        expected, left = undisturbed_act(other), _rows(other)
        other.close()
    by_itself = prepare in (_call, _end, _creation)
    lost = lose_next_answer(between, COMMITTED_BY_ITSELF if by_itself else (COMMITTED,))

    found = act(store)

    assert lost.locked()
    same = repr(expected).replace(str(other_id), str(exec_id))
    assert repr(found) == same
    assert repr(_rows(store)) == repr(left).replace(str(other_id), str(exec_id))


def _rows(store: Store) -> object:
    executions = store.list_executions(EVERYTHING, limit=10)
    return [
        (
            one,
            store.list_calls(one.id),
            store.list_waits(one.id),
            [line for _, line in store.list_logs(one.id)],
            [told for _, told in store.list_events(one.id)],
        )
        for one in executions
    ]


def test_commit_is_asked_about_again_when_that_answer_is_lost_too(
    lossy: tuple[Relay, PostgresStore],
) -> None:
    between, store = lossy
    execution = create(store)
    due, asked = threading.Lock(), threading.Lock()
    # First the word to commit never arrives, and it is rolled back; then the answer to the question is lost.
    between.requests = lambda data: b"COMMIT\x00" not in data or not due.acquire(blocking=False)

    def loses(data: bytes) -> bool:
        return not (due.locked() and b"INSERT 0 1" in data) or not asked.acquire(blocking=False)

    between.answers = loses

    cancelled = store.request_cancel(execution.id, by="me", now=NOW)

    assert asked.locked()
    assert cancelled.status is ExecutionStatus.CANCELLED
    assert store.get_execution(execution.id).status is ExecutionStatus.CANCELLED


def test_transaction_that_never_reached_its_commit_is_done_again(
    lossy: tuple[Relay, PostgresStore],
) -> None:
    between, store = lossy
    execution = create(store)
    due = threading.Lock()
    # The word goes missing on its way there, so that the database rolls back.
    between.requests = lambda data: b"COMMIT\x00" not in data or not due.acquire(blocking=False)

    cancelled = store.request_cancel(execution.id, by="me", now=NOW)

    assert cancelled.status is ExecutionStatus.CANCELLED
    with pytest.raises(KitaruStateError):
        store.request_cancel(execution.id, by="me", now=NOW)


def test_connections_that_break_all_the_time_cost_nothing_but_time(
    lossy: tuple[Relay, PostgresStore],
) -> None:
    between, store = lossy
    executions = [run(store) for _ in range(4)]
    writer = JournalWriter(store.commit)
    stop = threading.Event()

    written: list[int] = []

    def disturb() -> None:
        seen = 0
        while not stop.wait(0.03):
            # A slow machine might take longer to connect than to be disturbed again.
            if len(written) > seen:
                seen = len(written)
                between.break_all()

    def work(number: int) -> None:
        for step in range(40):
            assert writer.write(entry(executions[number], call(f"step#{step}"))).held
            written.append(step)
        assert writer.write(entry(executions[number], outcome=completed())).held

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
    finally:
        stop.set()
        disturbing.join()

    for execution in executions:
        assert [row.position for row in store.list_calls(execution.id)] == [
            f"step#{n}" for n in range(40)
        ]
        assert store.get_execution(execution.id).status is ExecutionStatus.COMPLETED
    assert store.verify() == []


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """Return a server that a test may stop and kill."""
    server = PostgresServer(flushes=True)
    server.start()
    yield server
    server.remove()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_database_that_is_restarted_is_waited_for(own_server: PostgresServer, how: str) -> None:
    store = PostgresStore(own_server.url("postgres"))
    store.migrate()
    execution = run(store)
    writer = JournalWriter(store.commit)
    written: list[int] = []

    def work() -> None:
        for step in range(400):
            assert writer.write(entry(execution, call(f"step#{step}"))).held
            written.append(step)

    working = threading.Thread(target=work)
    working.start()
    for round_ in range(1, 4):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(written) < 100 * round_ and time.monotonic() < deadline:
            time.sleep(0.005)
        getattr(own_server, how)()
        own_server.start()
    working.join(PATIENCE_SECONDS)

    assert [row.position for row in store.list_calls(execution.id)] == [
        f"step#{n}" for n in range(400)
    ]
    assert store.verify() == []
    store.close()


@pytest.mark.slow
def test_database_that_is_away_for_more_than_a_moment_is_told_of_once(
    own_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = PostgresStore(own_server.url("postgres"))
    store.migrate()
    own_server.kill()

    with caplog.at_level(logging.INFO, "kitaru.store"), ThreadPoolExecutor(2) as pool:
        reading = [pool.submit(store.list_running) for _ in range(2)]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "out of reach" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.02)
        own_server.start()
        assert [each.result(PATIENCE_SECONDS) for each in reading] == [[], []]

    told = [record.getMessage() for record in caplog.records]
    assert sum("is out of reach, and is tried for up to 90 s" in message for message in told) == 1
    assert sum("answers again" in message for message in told) == 1
    store.close()


@pytest.mark.slow
def test_restart_is_found_out_once_and_not_by_each_connection(own_server: PostgresServer) -> None:
    store = PostgresStore(own_server.url("postgres"))
    store.migrate()
    together = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        for each in [
            pool.submit(store._postgres.read, lambda _: together.wait(PATIENCE_SECONDS))
            for _ in range(4)
        ]:
            each.result(PATIENCE_SECONDS)
    idle = store._postgres._sessions._idle
    assert len(idle) == 4

    own_server.stop()
    own_server.start()
    store.list_running()

    assert all(session.connection.closed for session in idle)
    assert len(store._postgres._sessions._idle) == 1
    store.close()


@pytest.mark.slow
def test_database_that_stays_away_is_named_with_the_way_out(own_server: PostgresServer) -> None:
    store = PostgresStore(own_server.url("postgres"), patience_seconds=0.5)
    store.migrate()
    execution = create(store)
    own_server.kill()

    with pytest.raises(KitaruBackendError) as raised:
        store.get_execution(execution.id)

    assert "is out of reach" in raised.value.message
    assert "executions recover" in raised.value.message
    own_server.start()
    assert store.get_execution(execution.id) == execution
    store.close()


@pytest.mark.slow
def test_database_without_a_free_connection_is_waited_for() -> None:
    server = PostgresServer(max_connections="8", superuser_reserved_connections="0")
    server.start()
    try:
        store = PostgresStore(server.url("postgres"))
        store.migrate()
        store.close()
        greedy = _take_all_connections(server.url("postgres"))
        impatient = PostgresStore(server.url("postgres"), patience_seconds=0.3)
        with pytest.raises(KitaruBackendError, match="pgbouncer"):
            impatient.list_running()
        waiting = ThreadPoolExecutor(1).submit(store.list_running)
        for one in greedy:
            one.close()
        assert waiting.result(PATIENCE_SECONDS) == []
        store.close()
    finally:
        server.remove()


def _take_all_connections(url: str) -> list[psycopg.Connection[tuple[object, ...]]]:
    taken: list[psycopg.Connection[tuple[object, ...]]] = []
    while True:
        try:
            taken.append(psycopg.connect(url))
        except psycopg.OperationalError:
            return taken


# --- a pooler that lends connections for a transaction ---------------------------------------


@pytest.fixture
def pooled_url(postgres_url: str, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a pgbouncer before the database, with fewer connections than clients."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        how = "pgbouncer is not installed: `apt-get install pgbouncer`, `brew install pgbouncer`"
        # Where everything is checked for all, nothing may be missing.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(how)
    parts, port = urlsplit(postgres_url), free_port()
    folder = tmp_path / "pgbouncer"
    folder.mkdir()
    (folder / "users").write_text('"kitaru" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={parts.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users\npool_mode = transaction\n"
        "default_pool_size = 3\nmax_client_conn = 200\nlogfile =\n"
    )
    user = "nobody" if os.geteuid() == 0 else None
    for above in (folder, *folder.parents[:4]):
        if user is not None and above != Path("/tmp"):
            above.chmod(above.stat().st_mode | 0o755)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, folder / "pgbouncer.ini"], user=user, stdout=log, stderr=log
        )
    url = f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
            break
        except psycopg.OperationalError:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    yield url
    process.terminate()
    process.wait()


@pytest.mark.slow
def test_pooler_that_lends_connections_for_a_transaction_is_no_obstacle(pooled_url: str) -> None:
    stores = [PostgresStore(pooled_url) for _ in range(6)]

    def work(store: PostgresStore) -> list[str]:
        done: list[str] = []
        for _ in range(15):
            execution = run(store)
            for step in range(4):
                assert commit_one(store, entry(execution, call(f"step#{step}"))).held
            store.append_logs([log_line(execution.id)])
            wait = question(execution)
            commit_one(store, entry(execution, waits=(wait,), outcome=parked(wait.position)))
            store.resolve_wait(execution.id, wait.position, answered(), now=NOW)
            [again] = store.claim_executions(claim(), now=NOW, limit=1, exec_ids=[execution.id])
            assert commit_one(store, entry(again, call("step#9"), outcome=completed())).held
            done.append(execution.id)
        return done

    with ThreadPoolExecutor(len(stores)) as pool:
        done = [exec_id for ids in pool.map(work, stores) for exec_id in ids]

    assert stores[0].count_executions(EVERYTHING) == len(done) == 90
    for exec_id in done:
        assert len(stores[0].list_calls(exec_id)) == 5
    assert stores[0].verify() == []
    watch = stores[0].watch(lambda: None)
    assert (
        not watch.is_live
    )  # nobody can listen on a lent connection; whoever waits looks by himself
    watch.stop()
    for store in stores:
        store.close()


# --- being told ---------------------------------------------------------------------------------


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.005)


def test_whoever_watches_is_told_of_work_and_of_answers(postgres_url: str) -> None:
    watching, acting = PostgresStore(postgres_url), PostgresStore(postgres_url)
    told = threading.Event()
    watch = watching.watch(told.set)
    until(lambda: watch.is_live)
    execution = run(acting)
    wait = question(execution)

    def tells(act: Callable[[], object]) -> bool:
        told.clear()
        act()
        return told.wait(PATIENCE_SECONDS)

    assert tells(lambda: create(acting))
    commit_one(acting, entry(execution, waits=(wait,)))
    assert tells(lambda: acting.resolve_wait(execution.id, wait.position, answered(), now=NOW))

    watch.stop()
    watching.close()
    acting.close()


def test_watch_is_live_again_after_its_connection_was_ended(postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    told = threading.Event()
    watch = store.watch(told.set)
    until(lambda: watch.is_live)
    told.clear()

    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    assert told.wait(PATIENCE_SECONDS)  # to look, because something may have been missed
    until(lambda: watch.is_live)
    watch.stop()
    store.close()


# --- whose database it is -----------------------------------------------------------------------


def test_database_without_tables_is_refused_with_the_command(databases: Databases) -> None:
    with databases.unmigrated() as url:
        store = PostgresStore(url)

        with pytest.raises(
            KitaruBackendError, match=r"has no tables of Kitaru.*`kitaru db migrate`"
        ):
            store.list_running()
        assert "run `kitaru db migrate`" in store.verify()[0]

        store.migrate()
        store.migrate()
        assert (store.list_running(), store.verify()) == ([], [])
        store.close()


def test_database_with_tables_of_others_by_our_names_is_left_alone(databases: Databases) -> None:
    with databases.unmigrated() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE execution (judge TEXT)")
        store = PostgresStore(url)

        with pytest.raises(KitaruBackendError, match=r"of another program.*'execution'.*createdb"):
            store.migrate()

        with psycopg.connect(url, autocommit=True) as connection:
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
        assert tables == [("execution",)]
        store.close()


def test_processes_that_migrate_at_once_wait_for_each_other(databases: Databases) -> None:
    with databases.unmigrated() as url:
        stores = [PostgresStore(url) for _ in range(4)]

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(PostgresStore.migrate, stores))

        assert stores[0].verify() == []
        for store in stores:
            store.close()


def test_database_of_a_newer_version_is_left_alone(databases: Databases) -> None:
    with databases.unmigrated() as url:
        store = PostgresStore(url)
        store.migrate()
        store.close()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO kitaru_migration VALUES (99, 'from_the_future', 'x', 0)"
            )

        for act in (store.list_running, store.migrate):
            with pytest.raises(KitaruBackendError, match="schema version 99"):
                act()
        store.close()


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("postgresql://me:geheim@127.0.0.1:1/k", KitaruBackendError, "is out of reach"),
        ("postgresql://me:geheim@[bad/k", KitaruUsageError, "percent-encoded"),
        ("postgresql://me:geheim@h/k?no_such_word=1", KitaruUsageError, "percent-encoded"),
    ],
)
def test_wrong_url_is_refused_without_its_password(
    url: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as raised:
        PostgresStore(url, patience_seconds=0.1).list_running()

    assert said in str(raised.value)
    assert "geheim" not in str(raised.value)


def test_unknown_database_is_named_with_the_way_out(databases: Databases) -> None:
    with pytest.raises(KitaruBackendError, match=r"nobody_made_this.*createdb.*kitaru db migrate"):
        PostgresStore(databases.url("nobody_made_this")).list_running()


def test_receipts_of_long_ago_are_removed_by_those_who_leave_others(postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    execution = create(store)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("INSERT INTO receipt (key, answer, created_at) VALUES ('old', '', 0)")
        for _ in range(256):
            store.append_logs([log_line(execution.id)])
        left = connection.execute("SELECT count(*) FROM receipt WHERE key = 'old'").fetchone()

    assert left == (0,)
    store.close()


def test_wake_up_is_not_lost_whatever_the_databases_default_isolation_is(postgres_url: str) -> None:
    name = urlsplit(postgres_url).path.removeprefix("/")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'".encode()
        )
    try:
        store, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
        for _ in range(20):
            execution = run(store)
            wait = question(execution)
            commit_one(store, entry(execution, waits=(wait,)))
            at_once(
                partial(commit_one, store, entry(execution, outcome=parked(wait.position))),
                partial(other.resolve_wait, execution.id, wait.position, answered(), now=NOW),
            )
            assert store.get_execution(execution.id).status is ExecutionStatus.PENDING
        store.close()
        other.close()
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                f"ALTER DATABASE {name} RESET default_transaction_isolation".encode()
            )


def test_commit_of_usual_and_unusual_writes_is_whole_or_nothing(postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    execution = run(store)
    commit_one(store, entry(execution, call()))
    new = new_execution()
    other_result = call(output=None, failure=FAILURE, status=CallStatus.FAILED)

    with pytest.raises(KitaruStateError, match="has a result already"):
        store.commit([new, entry(execution, other_result)])

    assert store.find_execution_ids(new.id) == []
    store.close()


def test_renewal_does_not_stand_in_line_with_what_waits_for_a_lock(postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    locked, mine = create(store), run(store, claim=claim("me"))
    with psycopg.connect(postgres_url) as holder, ThreadPoolExecutor(16) as pool:
        holder.execute("SELECT 1 FROM execution WHERE id = %s FOR UPDATE", (locked.id,))
        waiting = [
            pool.submit(store.request_cancel, locked.id, by="me", now=NOW) for _ in range(16)
        ]
        until(lambda: _waiting_for_locks(postgres_url) >= 16)

        held = store.renew_leases("me", [(mine.id, mine.epoch)], lease_expires_at=2 * NOW)

        assert [lease.exec_id for lease in held] == [mine.id]
        holder.rollback()
    assert [one.exception() is None for one in waiting].count(True) == 1
    store.close()


def _waiting_for_locks(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
    assert row is not None
    return row[0]


def test_text_that_postgres_cannot_keep_is_refused_as_a_bad_call(postgres_url: str) -> None:
    store = PostgresStore(postgres_url)

    for fields in ({"idempotency_key": "a\0b"}, {"tags": ("a\0b",)}, {"flow": "\ud800"}):
        with pytest.raises(KitaruUsageError, match="cannot keep"):
            create(store, **fields)

    assert store.count_executions(EVERYTHING) == 0
    store.close()


# --- others at the same time ----------------------------------------------------------------------


def at_once(*acts: Callable[[], object]) -> None:
    barrier = threading.Barrier(len(acts))

    def begin(act: Callable[[], object]) -> None:
        barrier.wait()
        act()

    with ThreadPoolExecutor(len(acts)) as pool:
        for done in [pool.submit(begin, act) for act in acts]:
            done.result()


def test_no_wake_up_is_lost_between_those_who_park_and_those_who_answer(postgres_url: str) -> None:
    store, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
    for _ in range(40):
        execution = run(store)
        wait = question(execution)
        commit_one(store, entry(execution, waits=(wait,)))
        park = entry(execution, outcome=parked(wait.position))

        at_once(
            partial(commit_one, store, park),
            partial(other.resolve_wait, execution.id, wait.position, answered(), now=NOW),
        )

        assert store.get_execution(execution.id).status is ExecutionStatus.PENDING
    store.close()
    other.close()


@pytest.mark.parametrize("asks_before", [True, False])
def test_no_wake_up_is_lost_between_a_parent_that_parks_and_a_child_that_ends(
    postgres_url: str, asks_before: bool
) -> None:
    store, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
    for _ in range(30):
        parent = run(store)
        child = run(store, parent_id=parent.id, parent_position="c#1")
        wait = child_wait(parent, child.id)
        if asks_before:
            commit_one(store, entry(parent, waits=(wait,)))
        park = entry(parent, waits=() if asks_before else (wait,), outcome=parked(wait.position))

        at_once(
            partial(commit_one, store, park),
            partial(commit_one, other, entry(child, outcome=completed())),
        )

        assert store.get_execution(parent.id).status is ExecutionStatus.PENDING
    assert store.verify() == []
    store.close()
    other.close()


def test_child_that_is_created_while_its_family_is_cancelled_is_cancelled_too(
    postgres_url: str,
) -> None:
    store, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
    for _ in range(30):
        root = run(store)
        middle = run(store, parent_id=root.id, parent_position="m#1")
        leaf = new_execution(parent_id=middle.id, parent_position="l#1")

        at_once(
            partial(commit_one, store, leaf),
            partial(other.request_cancel, root.id, by="me", now=NOW),
        )

        family = store.list_executions(
            ExecutionFilter(project="default", parent_id=middle.id), limit=5
        )
        assert [one.status for one in family] in ([], [ExecutionStatus.CANCELLED])
    store.close()
    other.close()


def test_replay_of_what_is_deleted_at_the_same_moment_is_refused_or_kept(postgres_url: str) -> None:
    store, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
    for _ in range(30):
        origin = run(store)
        commit_one(store, entry(origin, outcome=completed()))
        replay = new_execution(origin_id=origin.id, replay_plan={})
        refused: list[str] = []

        def attempt(name: str, act: Callable[[], object], refused: list[str] = refused) -> None:
            try:
                act()
            except (KitaruStateError, LookupError):
                refused.append(name)

        at_once(
            partial(attempt, "replay", partial(commit_one, store, replay)),
            partial(attempt, "delete", partial(other.delete_execution, origin.id)),
        )

        assert len(refused) == 1
    store.close()
    other.close()


def test_renewals_and_group_commits_of_the_same_executions_never_deadlock(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = PostgresStore(postgres_url)
    executions = [run(store, claim=claim("me")) for _ in range(12)]
    leases = [(one.id, one.epoch) for one in executions]
    stop = threading.Event()

    def renew() -> None:
        while not stop.is_set():
            assert len(store.renew_leases("me", leases, lease_expires_at=2 * NOW)) == len(leases)

    renewing = threading.Thread(target=renew)
    with caplog.at_level(logging.WARNING, "kitaru"):
        renewing.start()
        for step in range(60):
            entries = [entry(one, call(f"step#{step}")) for one in reversed(executions)]
            assert all(outcome.held for outcome in store.commit(entries))
        stop.set()
        renewing.join()

    with psycopg.connect(postgres_url) as connection:
        deadlocks = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert deadlocks == (0,)
    store.close()


def _in_child(store: PostgresStore) -> None:
    child = run(store, id="child")
    assert commit_one(store, entry(child, call())).held
    store.close()


def test_forked_child_and_its_parent_have_connections_of_their_own(postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    told = threading.Event()
    watch = store.watch(told.set)
    until(lambda: watch.is_live)
    parent = run(store, id="parent")

    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(store,))
    child.start()
    commit_one(store, entry(parent, call("after#1")))
    child.join(PATIENCE_SECONDS)

    assert child.exitcode == 0
    assert store.list_calls("child") == [call()]
    assert [row.position for row in store.list_calls("parent")] == ["after#1"]
    until(lambda: watch.is_live)
    watch.stop()
    store.close()
