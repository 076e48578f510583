"""What every test gets: an environment that is nobody's, and a check that it cleans up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import thread as executor_threads
from pathlib import Path

import psutil
import pytest

from tests import postgres, server_process
from tests.crash import preloaded
from tests.postgres import Databases, PostgresServer

# Under xdist the controller collects nothing, and would not hear of hooks further down.
from tests.reporting import pytest_itemcollected as pytest_itemcollected
from tests.reporting import pytest_terminal_summary as pytest_terminal_summary
from tests.stores import Places

# Done at import, because modules under test may be imported before any fixture runs.
# `KITARU_TEST_*` is not for Kitaru but for its tests (which database to use).
for _name in [name for name in os.environ if name.startswith("KITARU_")]:
    if not _name.startswith("KITARU_TEST_"):
        del os.environ[_name]

# Nothing can be created below a device: a test that opens a store without asking for `config_dir`
# fails, instead of writing into the developer's own store.
os.environ["KITARU_CONFIG_PATH"] = str(Path(os.devnull) / "ask-for-the-fixture-config_dir")

# Attendants inside the processes of tests would take up what those have left behind on purpose.
os.environ["KITARU_ATTENDANT"] = "false"

# A job in the background of a script has it ignored, and so would all the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GRACE_SECONDS = 5.0  # a thread that has done its work still needs a moment to end
_SERVANTS = (
    "multiprocessing.resource_tracker",
    "multiprocessing.forkserver",
    postgres.SHARED,
    server_process.SHARED,
    preloaded.COMMAND,
)


@pytest.fixture
def config_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory in which Kitaru keeps settings and store during this test."""
    directory = tmp_path / "kitaru"
    directory.mkdir()
    monkeypatch.setenv("KITARU_CONFIG_PATH", str(directory))
    return directory


@pytest.fixture(scope="session")
def places(request: pytest.FixtureRequest) -> Places:
    """Return where to get empty stores of every kind from; `databases` ends what belongs to it."""
    return Places(lambda: request.getfixturevalue("databases"))


@pytest.fixture(scope="session")
def databases(places: Places) -> Iterator[Databases]:
    """Return where to get databases from, on a server that is there for all tests of this process."""
    given = os.environ.get("KITARU_TEST_POSTGRES_URL")
    server = None
    if not given:
        server = PostgresServer(prefix=postgres.SHARED)
        server.start()
    found = Databases(given or (server.url("postgres") if server else ""))
    yield found
    places.close()
    found.remove()
    if server is not None:
        server.remove()


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    """Return the URL of an empty, migrated database."""
    with databases.empty() as url:
        yield url


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child process or a non-daemon thread running."""
    threads_before = set(threading.enumerate())
    children_before = {child.pid for child in psutil.Process().children()}

    yield

    deadline = time.monotonic() + GRACE_SECONDS
    threads = leftover_threads(threads_before, deadline)
    children = leftover_children(children_before, deadline)
    names = [f"thread {thread.name!r}" for thread in threads]
    for child in children:
        names.append(f"process {child}")
        child.kill()
        child.wait()
    if names:
        pytest.fail(f"the test left behind: {', '.join(names)}", pytrace=False)


def leftover_threads(before: set[threading.Thread], deadline: float) -> list[threading.Thread]:
    """Return the threads, unknown `before`, that would keep the process alive."""
    new = [
        thread
        for thread in threading.enumerate()
        # The interpreter ends the idle threads of executors by itself.
        if thread not in before
        and not thread.daemon
        and thread not in executor_threads._threads_queues  # no public way to ask
    ]
    for thread in new:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread for thread in new if thread.is_alive()]


def leftover_children(before: set[int], deadline: float) -> list[psutil.Process]:
    """Return the child processes, unknown `before`, that are still running."""
    new = [child for child in psutil.Process().children() if child.pid not in before]
    new = [child for child in new if not _is_servant(child)]
    if not new:
        return []
    _, alive = psutil.wait_procs(new, timeout=max(0.0, deadline - time.monotonic()))
    return alive


def _is_servant(child: psutil.Process) -> bool:
    try:
        command = " ".join(child.cmdline())
    except psutil.Error:
        return False
    return any(servant in command for servant in _SERVANTS)
