"""The claim loop, in this process and on a store of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import checkpoint, flow, settings
from kitaru.authoring.flow import Flow
from kitaru.authoring.submission import submit_detached
from kitaru.client import ExecutionStatus, KitaruClient
from kitaru.code_ref import load_script
from kitaru.errors import KitaruUsageError
from kitaru.fleet import NO_CODE, code_key
from kitaru.model import ExecutionRecord
from kitaru.stacks import forget_runner_logs, runner_log
from kitaru.worker import runners, service
from kitaru.worker.flow_table import FlowTable
from kitaru.worker.service import Worker
from tests.stores import HTTP, KINDS, POSTGRES, Places

PATIENCE_SECONDS = 60

gate = threading.Event()
running: set[str] = set()
most: list[int] = []
bodies: list[str] = []
attempts: list[int] = []


@checkpoint
def step(name: str) -> str:
    bodies.append(name)
    return name


@flow
def quick(name: str) -> str:
    return step(name)


@flow
async def quick_async(name: str) -> str:
    await asyncio.sleep(0)
    return step(name)


@checkpoint
def gated(name: str) -> str:
    running.add(name)
    most.append(len(running))
    assert gate.wait(PATIENCE_SECONDS)
    running.discard(name)
    return name


@flow
def slow(name: str) -> list[str]:
    return [gated(name), step(name)]


@flow
def asks() -> str:
    step("asked")
    return f"{kitaru.wait(schema=str, name='word')}!"


@flow
def exits() -> None:
    raise SystemExit(3)


@flow(retries=1_000)
def stubborn() -> None:
    attempts.append(1)
    raise ConnectionError("not yet")


@flow
def parent() -> list[str]:
    handles = [quick.run(f"child {number}") for number in range(3)]
    return [handle.wait() for handle in handles]


class AtWork:
    """A worker in a thread of its own."""

    def __init__(self, *flows: Flow[..., Any], **options: Any) -> None:
        given: dict[str, Any] = {
            "stack": "local",
            "concurrency": 4,
            "drain_seconds": 0.0,
            **options,
        }
        self.runner = runners.local_runner(settings.current(), keeps_stacks=False)
        self.worker = Worker(self.runner, FlowTable(flows) if flows else None, **given)
        self._thread = threading.Thread(target=self.worker.serve)

    def __enter__(self) -> AtWork:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        gate.set()
        self._thread.join()

    def stop(self) -> None:
        self.worker.stop()
        self._thread.join()


@pytest.fixture(params=KINDS)
def store_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _own_store(
    store_kind: str, config_dir: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    gate.clear()
    for seen in (running, most, bodies):
        seen.clear()
    with places.empty(store_kind, config_dir) as place:
        for name, value in place.environment().items():
            monkeypatch.setenv(name, value)
        runners.local_runner(settings.current(), keeps_stacks=False)
        yield

        for key, runner in list(runners._runners.items()):
            if runner.settings.store_url == place.store_url and key[0] == os.getpid():
                runner.close()
                runner.store.close()
                del runners._runners[key]
        settings.forget()


def detach(flow: Flow[..., Any], **inputs: Any) -> str:
    created = submit_detached(flow, inputs, {}).execution
    assert created is not None
    return created.id


def until(fits: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fits():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def status(exec_id: str) -> ExecutionStatus:
    return KitaruClient().executions.get(exec_id).status


def row(exec_id: str) -> ExecutionRecord:
    return runners.local_runner(settings.current()).store.get_execution(exec_id)


def ended(*exec_ids: str) -> list[str]:
    until(lambda: all(status(exec_id).is_finished for exec_id in exec_ids))
    return [status(exec_id).value for exec_id in exec_ids]


def test_pending_executions_of_both_kinds_are_run() -> None:
    first, second = detach(quick, name="a"), detach(quick_async, name="b")

    with AtWork(quick, quick_async):
        outcomes = ended(first, second)

    assert outcomes == ["completed", "completed"]
    assert sorted(bodies) == ["a", "b"]


def test_no_more_than_the_concurrency_run_at_once() -> None:
    exec_ids = [detach(slow, name=str(number)) for number in range(5)]

    with AtWork(slow, concurrency=2) as at_work:
        until(lambda: len(running) == 2)
        waiting = [one for one in exec_ids if status(one) is ExecutionStatus.PENDING]
        gate.set()
        outcomes = ended(*exec_ids)
        announced = at_work.runner.store.list_workers()

    assert (len(waiting), max(most), set(outcomes)) == (3, 2, {"completed"})
    assert [(one.concurrency, one.code_keys) for one in announced] == [
        (2, tuple(sorted(FlowTable([slow]).known)))
    ]


def test_children_run_beside_the_concurrency() -> None:
    exec_id = detach(parent)

    with AtWork(parent, concurrency=1):
        outcomes = ended(exec_id)

    assert outcomes == ["completed"]
    assert sorted(bodies) == ["child 0", "child 1", "child 2"]


def test_flow_that_waits_leaves_at_once_and_goes_on_with_its_answer() -> None:
    exec_id = detach(asks)

    with AtWork(asks, concurrency=1) as at_work:
        until(lambda: status(exec_id) is ExecutionStatus.WAITING)
        until(lambda: at_work.runner.in_flight() == [])
        expected_back = at_work.runner.services.watcher.expects_any()
        KitaruClient().executions.input(exec_id, wait="word", value="yes")
        ended(exec_id)

    assert expected_back is False
    assert KitaruClient().executions.get(exec_id).result() == "yes!"
    assert bodies == ["asked"]


def test_flow_that_would_end_the_process_stops_no_other() -> None:
    bad, good = detach(exits), detach(quick, name="a")

    with AtWork(exits, quick):
        outcomes = ended(bad, good)

    assert outcomes == ["failed", "completed"]


def test_only_its_own_flows_are_claimed() -> None:
    other, own = detach(quick_async, name="b"), detach(quick, name="a")

    with AtWork(quick):
        ended(own)

    assert status(other) is ExecutionStatus.PENDING


def test_code_that_cannot_be_loaded_is_never_claimed_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("good", "bad", "deadly"):
        file = tmp_path / f"flows_{name}.py"
        file.write_text("from kitaru import flow\n\n@flow\ndef run_it() -> int:\n    return 1\n")
    modules = [load_script(tmp_path / f"flows_{name}.py") for name in ("bad", "deadly", "good")]
    bad, deadly, good = [detach(module.run_it) for module in modules]
    (tmp_path / "flows_bad.py").unlink()
    (tmp_path / "flows_deadly.py").write_text("import os\n\nos._exit(7)\n")
    for module in modules:
        del sys.modules[module.__name__]

    with caplog.at_level(logging.WARNING, logger="kitaru.worker"), AtWork() as at_work:
        ended(good)
        served = set(at_work.worker._discovery.served)

    assert [(row(one).status, row(one).epoch) for one in (bad, deadly)] == [
        (ExecutionStatus.PENDING, 0),
        (ExecutionStatus.PENDING, 0),
    ]
    assert served == {code_key(row(good).code_root, row(good).code_ref)}
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "flows_bad.py" in told
    assert "importing it ended the process (exit code 7)" in told


def test_code_of_other_folders_is_left_to_processes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere.py").write_text(
        "from kitaru import flow\n\n@flow\ndef run_it() -> int:\n    return 1\n"
    )
    module = load_script(tmp_path / "elsewhere.py")
    exec_id = detach(module.run_it)

    with AtWork() as at_work:
        at_work.worker._discovery.look()
        served = dict(at_work.worker._discovery.served)

    assert (served, status(exec_id)) == ({}, ExecutionStatus.PENDING)


def test_execution_that_does_not_fit_the_code_is_left_to_others_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def renamed(new_name: str) -> str:
        return new_name

    renamed.__qualname__, renamed.__module__ = "quick", __name__
    changed = flow(renamed)
    bad = [detach(quick, name="a") for _ in range(40)]
    good = detach(quick_async, name="b")

    with (
        caplog.at_level(logging.WARNING, logger="kitaru.worker"),
        AtWork(changed, quick_async) as at_work,
    ):
        ended(good)
        until(lambda: all(row(one).status_reason == NO_CODE for one in bad))
        at_work.worker._turn()

    assert {(row(one).status, row(one).epoch, row(one).recoveries) for one in bad} == {
        (ExecutionStatus.PENDING, 1, 0)
    }
    why = KitaruClient().executions.why(bad[0])
    assert "a worker could not run it with the code that it has" in why.text
    assert "takes it up" not in why.text


def test_stopping_worker_finishes_what_is_short() -> None:
    exec_id = detach(slow, name="a")

    with AtWork(slow, drain_seconds=PATIENCE_SECONDS) as at_work:
        until(lambda: "a" in running)
        at_work.worker.stop()
        until(lambda: at_work.runner.store.list_workers() == [])
        later = detach(slow, name="b")
        gate.set()
        ended(exec_id)

    assert (status(exec_id), status(later)) == (ExecutionStatus.COMPLETED, ExecutionStatus.PENDING)


def test_stopping_worker_hands_back_what_is_long_at_its_next_boundary() -> None:
    exec_id = detach(slow, name="a")

    with AtWork(slow) as at_work:
        until(lambda: "a" in running)
        at_work.worker.stop()
        until(lambda: at_work.runner.find(exec_id) is not None)
        [local] = at_work.runner.in_flight()
        until(lambda: local.run.signal is not None)
        gate.set()
        at_work.stop()
    handed_back = row(exec_id)
    with AtWork(slow):
        outcomes = ended(exec_id)

    assert (handed_back.status, handed_back.held_at) == (ExecutionStatus.PENDING, None)
    assert handed_back.recoveries == 0
    assert (outcomes, most) == (["completed"], [1])


def test_stopped_worker_tries_nothing_again() -> None:
    exec_ids = [detach(stubborn) for _ in range(3)]

    with AtWork(stubborn) as at_work:
        until(lambda: len(attempts) > 20)
        at_work.stop()
        stopped_after = len(attempts)

    assert len(attempts) == stopped_after
    assert {row(one).status for one in exec_ids} == {ExecutionStatus.PENDING}


def test_script_that_starts_runs_while_it_is_loaded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unguarded.py").write_text(
        "from kitaru import flow\n\n@flow\ndef run_it() -> int:\n    return 1\n\nrun_it.run()\n"
    )

    with pytest.raises(KitaruUsageError, match=r"run_it.*unguarded\.py.*__main__"):
        load_script(tmp_path / "unguarded.py")

    assert KitaruClient().executions.list() == []


def test_logs_of_started_processes_go_with_their_executions(config_dir: Path) -> None:
    gone, kept = detach(quick, name="a"), detach(quick, name="b")
    with AtWork(quick):
        ended(gone, kept)
    for exec_id in (gone, kept):
        file = runner_log(settings.current(), exec_id)
        file.parent.mkdir(exist_ok=True)
        file.write_text("patient: J. D.\n")

    KitaruClient().executions.delete(gone)
    runner_log(settings.current(), gone).write_text("left by a crash")
    forget_runner_logs(settings.current(), runners.local_runner(settings.current()).store)

    assert [file.stem for file in (config_dir / "runners").iterdir()] == [kept]


def test_worker_rides_out_a_store_that_is_out_of_reach(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kitaru.errors import KitaruBackendError

    monkeypatch.setattr("kitaru.worker.service._BROKEN_SECONDS", 0.001)
    at_work = AtWork(quick)
    claim, failures = at_work.runner.store.claim_executions, [3]

    def failing(*args: Any, **options: Any) -> Any:
        if failures[0]:
            failures[0] -= 1
            raise KitaruBackendError("the disk is full")
        return claim(*args, **options)

    monkeypatch.setattr(at_work.runner.store, "claim_executions", failing)
    exec_id = detach(quick, name="a")
    with caplog.at_level(logging.WARNING, logger="kitaru.worker"), at_work:
        ended(exec_id)

    assert [record.getMessage() for record in caplog.records] == [
        "the store is out of reach, trying again: the disk is full",
        "the store is there again",
    ]


@pytest.mark.parametrize("store_kind", [POSTGRES, HTTP], indirect=True)
def test_worker_that_would_not_look_for_minutes_is_told_of_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_POLL_SECONDS", 600.0)

    with AtWork(quick):
        ids = [detach(quick, name=f"number {number}") for number in range(3)]

        assert ended(*ids) == ["completed"] * 3
