"""Workers, detached runs and the attendant, each a process of its own, as people start them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from kitaru import settings
from kitaru.model import ExecutionRecord, ExecutionStatus
from kitaru.store import Store
from tests.cli.conftest import COMMAND, Kitaru

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PATIENCE_SECONDS = 60.0
ATTENDED = {"KITARU_ATTENDANT": "true"}
SHORT_LEASE = {"KITARU_LEASE_SECONDS": "2", "KITARU_LEASE_RENEW_SECONDS": "0.5"}

APP = """
import os
import time
from pathlib import Path

import kitaru
from kitaru import checkpoint, flow


@checkpoint
def note(word):
    with Path("bodies").open("a") as file:
        file.write(f"{word} {os.getpid()}\\n")
    return word


@checkpoint
def hold():
    Path("holding").write_text(str(os.getpid()))
    while not Path("go").exists():
        time.sleep(0.01)
    return "held"


@flow
def quick():
    return note("quick")


@flow
def patient():
    note("before")
    hold()
    return note("after")


@flow
def endless():
    count = 0
    while not Path("enough").exists():
        note(f"step-{count}")
        count += 1
        time.sleep(0.02)
    return count


@flow
def asks():
    note("asked")
    answer = kitaru.wait(schema=int, name="number")
    note("answered")
    return answer


@flow
def expires():
    note("asked")
    try:
        kitaru.wait(schema=int, name="number", expires=1)
    except kitaru.KitaruWaitExpiredError:
        return note("expired")


@flow
def sleeps():
    note("tired")
    kitaru.sleep(3600)
    return note("awake")


@flow
def exits():
    raise SystemExit(3)
"""

# Fails to load in each of these ways once a file says so.
FICKLE = """
import sys
from pathlib import Path

from kitaru import flow

how = Path("how").read_text() if Path("how").exists() else ""
if how == "exit":
    sys.exit(7)
if how == "import":
    import no_such_module
if how == "raise":
    1 / 0


@flow
def fickle():
    return "fine"
"""


class Processes:
    """Command lines that go on, and what they have said so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *tokens: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command line that is ended with the test."""
        with (self._folder / f"said-{len(self._started)}").open("wb") as said:
            process = subprocess.Popen(
                [*COMMAND, *tokens],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **environment},
            )
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()

    def said(self) -> str:
        """Return what all of them have said."""
        return "\n".join(file.read_text() for file in sorted(self._folder.glob("said-*")))


@pytest.fixture
def app(here: Path) -> Path:
    (here / "app.py").write_text(APP)
    (here / "fickle.py").write_text(FICKLE)
    return here


@pytest.fixture
def processes(app: Path) -> Iterator[Processes]:
    started = Processes(app)
    yield started
    (app / "go").touch()  # what has been started by those, and outlives them, ends as well
    (app / "enough").touch()
    started.end()
    sys.stderr.write(started.said())  # shown if the test fails


def until(fits: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fits():
        assert time.monotonic() < deadline, "it has not come to that in time"
        time.sleep(0.02)


def start_worker(
    processes: Processes, store: Store, *tokens: str, **environment: str
) -> subprocess.Popen[bytes]:
    """Start a worker and return once it has announced itself."""
    process = processes.start("worker", *tokens, **environment)
    until(lambda: process.pid in worker_pids(store) or process.poll() is not None)
    assert process.poll() is None, processes.said()
    return process


def worker_pids(store: Store) -> list[int]:
    return [int(worker.owner.split("/")[1]) for worker in store.list_workers()]


def start_attendant(processes: Processes) -> subprocess.Popen[bytes]:
    """Start `kitaru up` and return once it is the store's attendant."""
    from kitaru.attendant.instance import find_instance

    process = processes.start("up", "--port", "0")
    until(lambda: find_instance(settings.current()) is not None or process.poll() is not None)
    assert process.poll() is None, processes.said()
    return process


def start_run(processes: Processes, store: Store, flow: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start `kitaru run` and return once its execution exists."""
    before = {execution.id for execution in store.list_unfinished(limit=100)}

    def new() -> list[str]:
        found = store.list_unfinished(limit=100)
        return [execution.id for execution in found if execution.id not in before]

    process = processes.start("run", f"app:{flow}")
    until(lambda: bool(new()))
    return process, new()[0]


def detach(kitaru: Kitaru, target: str) -> tuple[str, int | None]:
    """Run `kitaru run --detach`; return the execution and the process started for it."""
    item = kitaru("run", target, "--detach", "-o", "json").json["item"]
    return item["exec_id"], item["runner_pid"]


def reach(store: Store, exec_id: str, status: ExecutionStatus) -> ExecutionRecord:
    until(lambda: store.get_execution(exec_id).status is status)
    return store.get_execution(exec_id)


def bodies(app: Path) -> list[str]:
    """Return which bodies have run, in order."""
    return [word for word, _ in runs(app)]


def runs(app: Path) -> list[tuple[str, int]]:
    """Return which bodies have run, in which processes."""
    file = app / "bodies"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def holder(app: Path) -> int:
    """Return in which process a body holds, once one does."""
    file = app / "holding"
    until(lambda: file.exists() and file.read_text() != "")
    return int(file.read_text())


def holds_in(app: Path, pid: int) -> bool:
    return holder(app) == pid


def detach_unserved(process: Kitaru, processes: Processes, store: Store, target: str) -> str:
    """Detach an execution that nobody takes up: its worker is there, and then is not."""
    present = start_worker(processes, store, target.partition(":")[0])
    present.send_signal(signal.SIGSTOP)
    exec_id, pid = detach(process, target)
    assert pid is None
    present.kill()
    present.wait()
    return exec_id


# --- detached runs ---------------------------------------------------------------------------


def test_detached_run_without_a_worker_gets_a_process_of_its_own(
    app: Path, process: Kitaru, store: Store
) -> None:
    exec_id, pid = detach(process, "app:quick")

    assert pid is not None
    reach(store, exec_id, ExecutionStatus.COMPLETED)
    assert runs(app) == [("quick", pid)]
    until(lambda: not psutil.pid_exists(pid))


def test_detached_run_is_left_to_a_worker_that_serves_it(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    worker = start_worker(processes, store, "app")

    exec_id, pid = detach(process, "app:quick")

    reach(store, exec_id, ExecutionStatus.COMPLETED)
    assert pid is None
    assert runs(app) == [("quick", worker.pid)]


def test_detached_run_of_what_the_worker_does_not_serve_gets_a_process(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    start_worker(processes, store, "app")

    exec_id, pid = detach(process, "fickle:fickle")

    reach(store, exec_id, ExecutionStatus.COMPLETED)
    assert pid is not None


def test_worker_starts_no_process_for_what_it_takes_up_itself(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    exec_id = detach_unserved(process, processes, store, "app:quick")

    worker = start_worker(processes, store, "app", **ATTENDED)

    reach(store, exec_id, ExecutionStatus.COMPLETED)
    assert runs(app) == [("quick", worker.pid)]
    assert not (settings.current().config_dir / "runners").exists()


# --- workers that die, hang and leave --------------------------------------------------------


def test_work_of_a_killed_worker_goes_on_in_another_without_recorded_bodies(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    first = start_worker(processes, store, "app")
    exec_id, _ = detach(process, "app:patient")
    until(lambda: holds_in(app, first.pid))
    second = start_worker(processes, store, "app", **ATTENDED)

    first.kill()
    first.wait()
    until(lambda: holds_in(app, second.pid))
    (app / "go").touch()

    execution = reach(store, exec_id, ExecutionStatus.COMPLETED)
    assert runs(app) == [("before", first.pid), ("after", second.pid)]
    assert (execution.recoveries, execution.epoch) == (1, 2)


def test_worker_that_is_stopped_past_its_lease_writes_nothing_when_it_goes_on(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    first = start_worker(processes, store, "app", **SHORT_LEASE)
    exec_id, _ = detach(process, "app:patient")
    until(lambda: holds_in(app, first.pid))

    first.send_signal(signal.SIGSTOP)
    second = start_worker(processes, store, "app", **SHORT_LEASE, **ATTENDED)
    until(lambda: holds_in(app, second.pid))
    (app / "go").touch()
    reach(store, exec_id, ExecutionStatus.COMPLETED)
    first.send_signal(signal.SIGCONT)
    second.terminate()
    second.wait()
    other, _ = detach(process, "app:quick")

    # The first one has come back to its senses: it serves what comes next, and wrote nothing before.
    reach(store, other, ExecutionStatus.COMPLETED)
    assert runs(app) == [
        ("before", first.pid),
        ("after", second.pid),
        ("quick", first.pid),
    ]


def test_terminated_worker_finishes_what_ends_in_time(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    worker = start_worker(processes, store, "app", "--drain", "60")
    exec_id, _ = detach(process, "app:patient")
    until(lambda: holds_in(app, worker.pid))

    worker.terminate()
    until(lambda: worker_pids(store) == [])
    (app / "go").touch()

    assert worker.wait(PATIENCE_SECONDS) == 0
    assert store.get_execution(exec_id).status is ExecutionStatus.COMPLETED


def test_terminated_worker_hands_back_what_lasts_and_another_goes_on(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    first = start_worker(processes, store, "app", "--drain", "0")
    exec_id, _ = detach(process, "app:endless")
    until(lambda: len(bodies(app)) > 3)

    first.terminate()
    assert first.wait(PATIENCE_SECONDS) == 0
    left = store.get_execution(exec_id)
    second = start_worker(processes, store, "app")
    until(lambda: second.pid in {pid for _, pid in runs(app)})
    (app / "enough").touch()

    execution = reach(store, exec_id, ExecutionStatus.COMPLETED)
    assert (left.status, left.held_at) == (ExecutionStatus.PENDING, None)
    assert execution.recoveries == 0  # handed back, not lost
    assert len(set(bodies(app))) == len(bodies(app))


def test_second_signal_ends_a_worker_at_once(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    worker = start_worker(processes, store, "app", "--drain", "60")
    exec_id, _ = detach(process, "app:patient")
    until(lambda: holds_in(app, worker.pid))

    worker.terminate()
    until(lambda: worker_pids(store) == [])
    worker.terminate()

    assert worker.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    assert store.get_execution(exec_id).status is ExecutionStatus.RUNNING  # until someone looks


def test_files_that_someone_looks_after_are_not_removed(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    assert process("run", "app:quick").code == 0
    worker = start_worker(processes, store, "app")

    beside_a_worker = process("clean", "global", "--yes")
    worker.terminate()
    until(lambda: worker_pids(store) == [])
    process("up", "--background", "--port", "0")
    beside_an_attendant = process("clean", "global", "--yes")
    process("down")
    alone = process("clean", "global", "--yes", "--dry-run")

    assert (beside_a_worker.code, f"worker {worker.pid}" in beside_a_worker.err) == (1, True)
    assert (beside_an_attendant.code, "kitaru down" in beside_an_attendant.err) == (1, True)
    assert alone.code == 0


# --- what cannot run -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["exit", "import", "raise", "gone"])
def test_flow_that_cannot_be_loaded_is_not_claimed_and_stops_no_other(
    app: Path, process: Kitaru, store: Store, processes: Processes, how: str
) -> None:
    broken = detach_unserved(process, processes, store, "fickle:fickle")
    (app / "how").write_text(how)
    if how == "gone":
        (app / "fickle.py").unlink()

    worker = start_worker(processes, store)
    fails, _ = detach(process, "app:exits")
    runs_well, _ = detach(process, "app:quick")

    reach(store, fails, ExecutionStatus.FAILED)
    reach(store, runs_well, ExecutionStatus.COMPLETED)
    untouched = store.get_execution(broken)
    assert (untouched.status, untouched.epoch) == (ExecutionStatus.PENDING, 0)
    assert worker.poll() is None


@pytest.mark.parametrize(
    ("target", "code", "told"),
    [
        ("nowhere", 1, "module 'nowhere' cannot be imported"),
        ("nowhere.py", 1, "the file 'nowhere.py' does not exist"),
        ("json", 2, "module 'json' has no flows"),
        ("app:quick", 2, "A worker serves all flows of 'app'"),
        ("app.py:quick", 2, "A worker serves all flows of 'app.py'"),
        ("ending", 2, "module 'ending' ends the process while it is imported (exit code 4)"),
        ("ending.py", 2, "ends the process while it is imported (exit code 4)"),
    ],
)
def test_worker_of_something_impossible_says_why(
    app: Path, process: Kitaru, target: str, code: int, told: str
) -> None:
    (app / "ending.py").write_text("raise SystemExit(4)\n")

    done = process("worker", target)

    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("Error: ")
    assert told in done.err


# --- the attendant ---------------------------------------------------------------------------


def test_store_has_one_attendant(app: Path, process: Kitaru, processes: Processes) -> None:
    attendant = start_attendant(processes)

    here, behind = process("up"), process("up", "--background")
    down, again = process("down", "-o", "json"), process("down", "-o", "json")

    assert (here.code, behind.code) == (1, 1)
    assert f"process {attendant.pid}" in here.err
    assert f"process {attendant.pid}" in behind.err
    assert attendant.wait(PATIENCE_SECONDS) == 0
    assert (down.json["item"]["pid"], again.json["item"]["pid"]) == (attendant.pid, None)


def test_attendant_in_the_background_outlives_its_command_until_down(
    app: Path, process: Kitaru
) -> None:
    up = process("up", "--background", "--port", "0", "-o", "json").json["item"]
    status = process("status", "-o", "json").json["item"]
    down = process("down", "-o", "json").json["item"]

    assert status["attendant"]["pid"] == up["pid"] == down["pid"]
    assert status["attendant"]["log"] == up["log"]
    until(lambda: not psutil.pid_exists(up["pid"]))


def test_attendant_has_what_a_killed_run_left_behind_continued(
    app: Path, store: Store, processes: Processes
) -> None:
    start_attendant(processes)
    run, exec_id = start_run(processes, store, "patient")
    until(lambda: holds_in(app, run.pid))

    run.kill()
    run.wait()
    until(lambda: not holds_in(app, run.pid))
    (app / "go").touch()

    assert reach(store, exec_id, ExecutionStatus.COMPLETED).recoveries == 1
    assert bodies(app) == ["before", "after"]


def test_run_that_was_stopped_by_hand_is_left_by_the_attendant_until_someone_recovers_it(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    start_attendant(processes)
    stopped, held = start_run(processes, store, "endless")
    until(lambda: len(bodies(app)) > 2)
    stopped.send_signal(signal.SIGINT)
    stopped.wait(PATIENCE_SECONDS)
    seen = len(bodies(app))
    # What became runnable later is taken up, so the other one has been passed over.
    killed, lost = start_run(processes, store, "patient")
    until(lambda: holds_in(app, killed.pid))
    killed.kill()
    killed.wait()
    (app / "go").touch()
    reach(store, lost, ExecutionStatus.COMPLETED)

    left = store.get_execution(held)
    (app / "enough").touch()
    done = process("executions", "recover", held)

    assert stopped.returncode == 130
    assert (left.status, left.held_at is None) == (ExecutionStatus.PENDING, False)
    assert len([word for word in bodies(app)[:seen] if word.startswith("step")]) == seen
    assert done.code == 0
    assert store.get_execution(held).status is ExecutionStatus.COMPLETED


def test_sleep_and_deadline_end_under_an_attendant_alone(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    start_attendant(processes)
    asleep, _ = detach(process, "app:sleeps")
    asked, _ = detach(process, "app:expires")
    reach(store, asleep, ExecutionStatus.WAITING)

    _let_an_hour_pass(asleep)

    reach(store, asleep, ExecutionStatus.COMPLETED)
    reach(store, asked, ExecutionStatus.COMPLETED)
    assert sorted(bodies(app)) == ["asked", "awake", "expired", "tired"]


def _let_an_hour_pass(exec_id: str) -> None:
    file = settings.current().store_url.removeprefix("sqlite://")
    with sqlite3.connect(file, timeout=PATIENCE_SECONDS) as database:
        moved = database.execute(
            "UPDATE wait SET wake_at = wake_at - 3600000000 WHERE execution_id = ?", (exec_id,)
        )
    database.close()
    assert moved.rowcount == 1


def test_answer_is_taken_up_by_a_worker_that_serves_the_flow(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    worker = start_worker(processes, store, "app")
    exec_id, _ = detach(process, "app:asks")
    reach(store, exec_id, ExecutionStatus.WAITING)

    done = process("executions", "input", exec_id, "--value", "7", "-o", "json")

    reach(store, exec_id, ExecutionStatus.COMPLETED)
    assert done.json["item"]["runner_pid"] is None
    assert runs(app) == [("asked", worker.pid), ("answered", worker.pid)]


def test_status_shows_who_is_there(
    app: Path, process: Kitaru, store: Store, processes: Processes
) -> None:
    attendant = start_attendant(processes)
    worker = start_worker(processes, store, "app", "--concurrency", "3")

    shown = process("status", "-o", "json").json["item"]
    told = process("status").out

    [found] = shown["workers"]
    assert shown["attendant"]["pid"] == attendant.pid
    assert (found["pid"], found["project"], found["stack"]) == (worker.pid, "default", "local")
    assert (found["concurrency"], found["running"]) == (3, 0)
    assert "app:quick" in found["flows"]
    assert f"process {worker.pid} (0 of 3 running)" in told
    assert f"process {attendant.pid} since" in told
