"""A run in flight while what it records to is killed and started again, or cut off.

Servers are those that `kitaru serve` starts, Postgres is killed with everything in it, and all of them are
processes of their own. A call that was recorded before has its effect once; one whose record was on its way
has it once too, because the runner lives and asks again.
"""

from __future__ import annotations

import collections
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kitaru.clock import MICROSECONDS
from kitaru.model import ExecutionStatus
from kitaru.settings_rules import file_url
from kitaru.store.contract import Store
from tests.crash.sweep import CONTINUE, Case, Cases, check_files, end
from tests.postgres import Databases, PostgresServer, free_port
from tests.relay import Relay
from tests.server_process import ServerProcess
from tests.stores import HTTP, POSTGRES, Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OUTAGES = 10
ROUNDS = OUTAGES + 1
WIDTH = 4
CALLS = WIDTH + 2  # of one round
# A machine that starts a server slowly must not lose the run by that.
PATIENT = {"KITARU_LEASE_SECONDS": "200", "KITARU_LEASE_RENEW_SECONDS": "0.5"}
HASTY = {"KITARU_LEASE_SECONDS": "3", "KITARU_LEASE_RENEW_SECONDS": "0.5"}

Processes = list[subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def _of_a_kind(store_kind: str) -> None:
    """Have every test say in the report what it was about."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def serve(stack: ExitStack, tmp_path: Path) -> Callable[[str], ServerProcess]:
    """Return what starts `kitaru serve` for a database; all have the same large values."""

    def start(database: str) -> ServerProcess:
        environment = {
            "KITARU_CONFIG_PATH": str(tmp_path),
            "KITARU_STORE_URL": database,
            "KITARU_ARTIFACT_STORE": file_url(tmp_path / "blobs"),
        }
        server = ServerProcess(free_port(), environment, attends=True)
        stack.callback(server.kill)
        server.start()
        return server

    return start


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    with databases.empty() as url:
        yield url


def _case(folder: Path, url: str) -> Case:
    if url.startswith("http"):
        return Case(folder, "steady", Place(kind=HTTP, store_url=url, artifact_store=url))
    blobs = Place.in_folder(folder).artifact_store
    return Case(folder, "steady", Place(kind=POSTGRES, store_url=url, artifact_store=blobs))


def _run_through(case: Case, processes: Processes, outage: Callable[[], None]) -> None:
    """Start a run, and have an outage in each of its rounds but the last, while calls are recorded."""
    process = case.start(case.script(), str(ROUNDS), **PATIENT)
    processes.append(process)
    for number in range(OUTAGES):
        case.wait_for_line("effects", number * CALLS + 1)
        case.allow(f"go {number}")
        case.wait_for_line("effects", number * CALLS + 2)
        outage()
    case.allow(f"go {OUTAGES}")
    status, output = end(process)
    assert status == 0, output


def _check(case: Case, *, epoch: int = 1) -> None:
    expected = sum(number * number for number in range(ROUNDS * WIDTH))
    assert case.results() == {"steady": [expected]}
    assert {line["result"] for line in case.lines("result")} == {expected}
    [execution] = case.state().executions
    assert execution.status is ExecutionStatus.COMPLETED
    assert execution.epoch == epoch
    assert execution.lease_owner is None
    ran = collections.Counter(effect.identity for effect in case.effects())
    assert len(ran) == ROUNDS * CALLS
    assert set(ran.values()) == {1}, ran
    check_files(case)


@pytest.mark.parametrize("store_kind", [HTTP], indirect=True)
def test_run_outlives_ten_kills_of_its_server(
    serve: Callable[[str], ServerProcess], database: str, processes: Processes, tmp_path: Path
) -> None:
    server = serve(database)
    case = _case(tmp_path, server.url)

    def outage() -> None:
        server.kill()
        server.start()

    _run_through(case, processes, outage)

    _check(case)


@pytest.mark.parametrize("store_kind", [POSTGRES, HTTP], indirect=True)
def test_run_outlives_ten_kills_of_postgres(
    store_kind: str,
    serve: Callable[[str], ServerProcess],
    stack: ExitStack,
    processes: Processes,
    tmp_path: Path,
) -> None:
    postgres = PostgresServer()
    stack.callback(postgres.remove)
    postgres.start()
    databases = Databases(postgres.url("postgres"))
    url = stack.enter_context(databases.empty())
    case = _case(tmp_path, url if store_kind == POSTGRES else serve(url).url)

    def outage() -> None:
        postgres.kill()
        postgres.start()

    _run_through(case, processes, outage)

    _check(case)


@pytest.mark.parametrize("store_kind", [HTTP], indirect=True)
def test_run_outlives_ten_kills_of_either_of_two_servers(
    serve: Callable[[str], ServerProcess],
    database: str,
    stack: ExitStack,
    processes: Processes,
    tmp_path: Path,
) -> None:
    servers = [serve(database), serve(database)]
    between = stack.enter_context(Relay(*(server.port for server in servers)))
    case = _case(tmp_path, between.url)
    chance = random.Random(10)

    def outage() -> None:
        server = chance.choice(servers)
        server.kill()
        server.start()

    _run_through(case, processes, outage)

    _check(case)


@pytest.mark.parametrize("store_kind", [HTTP], indirect=True)
def test_run_that_is_cut_off_for_a_moment_goes_on_under_its_claim(
    serve: Callable[[str], ServerProcess],
    database: str,
    stack: ExitStack,
    processes: Processes,
    tmp_path: Path,
) -> None:
    server = serve(database)
    between = stack.enter_context(Relay(server.port))
    case, direct = _case(tmp_path, between.url), _case(tmp_path, server.url)

    def outage() -> None:
        with between.refused():
            # It has begun to try again, and has bodies whose records are on their way.
            refusals = between.refusals
            direct.until(lambda _: between.refusals > refusals + 2)

    _run_through(case, processes, outage)

    _check(direct)


@pytest.mark.parametrize("store_kind", [HTTP], indirect=True)
def test_run_that_is_cut_off_for_longer_than_its_lease_is_taken_over(
    serve: Callable[[str], ServerProcess],
    database: str,
    stack: ExitStack,
    processes: Processes,
    tmp_path: Path,
) -> None:
    server = serve(database)
    between = stack.enter_context(Relay(server.port))
    case, direct = _case(tmp_path, between.url), _case(tmp_path, server.url)
    cut_off = case.start(case.script(), str(ROUNDS), **HASTY)
    processes.append(cut_off)
    case.wait_for_line("effects")
    for number in range(OUTAGES // 2):
        case.allow(f"go {number}")
    case.wait_for_line("effects", CALLS * OUTAGES // 2 + 1)

    with between.refused():
        before = direct.state(), len(direct.effects())
        for number in range(OUTAGES // 2, ROUNDS):
            case.allow(f"go {number}")
        # The server finds that the lease has run out; whoever asks then has the execution.
        while not direct.lines("continued"):
            ended = direct.run(CONTINUE)
            assert ended.status == 0, ended.output
        after = direct.state()

    status, output = end(cut_off)
    assert status == 0, output
    assert f"execution {after.executions[0].id} of flow steady could not go on" in output
    assert direct.state() == after
    again = [e for e in direct.effects()[before[1] :] if before[0].is_settled(e)]
    assert again == []
    expected = sum(number * number for number in range(ROUNDS * WIDTH))
    assert direct.results() == {"steady": [expected]}
    assert case.lines("result") == [{"result": expected}]
    [execution] = after.executions
    assert execution.epoch == 2
    assert execution.recoveries == 1
    check_files(direct)


@pytest.mark.parametrize("store_kind", [POSTGRES, HTTP], indirect=True)
@pytest.mark.parametrize("minutes", [-10, 10])
def test_runner_whose_clock_is_wrong_neither_loses_its_lease_nor_keeps_it_longer(
    minutes: int, cases: Cases, processes: Processes, tmp_path: Path
) -> None:
    case = cases.new(tmp_path, "gated")
    wrong = case.start(case.script(), CRASH_SKEW=str(minutes * 60), **HASTY)
    processes.append(wrong)
    case.wait_for_line("reached")
    seen: set[int] = set()

    def is_renewed(store: Store) -> bool:
        [execution] = store.list_running()
        assert execution.lease_expires_at is not None
        assert abs(execution.lease_expires_at - store.clock.now()) < 60 * MICROSECONDS
        seen.add(execution.lease_expires_at)
        return len(seen) > 2

    case.until(is_renewed)
    ended = case.run(CONTINUE)
    assert ended.status == 0, ended.output
    assert case.lines("continued") == []
    case.allow("gate")

    status, output = end(wrong)
    assert status == 0, output
    [execution] = case.state().executions
    assert (execution.status, execution.epoch) == (ExecutionStatus.COMPLETED, 1)
    assert [effect.identity for effect in case.effects()] == ["first", "second", "third"]
    check_files(case)
