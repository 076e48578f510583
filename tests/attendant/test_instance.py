"""One attendant of its own per store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from kitaru import settings
from kitaru.attendant.instance import Instance, find_instance, instance_file, only_instance
from kitaru.attendant.serving import attend, start_in_background, stop_instance
from kitaru.engine.owner import current_owner
from kitaru.errors import KitaruBackendError, KitaruStateError

PATIENCE_SECONDS = 30
ME = Instance(owner=str(current_owner()), pid=os.getpid(), started_at=5, log=None)


def test_instance_is_found_while_it_lasts(config_dir: Path) -> None:
    present = settings.current()

    before = find_instance(present)
    with only_instance(present, ME):
        during = find_instance(present)
    after = find_instance(present)

    assert (before, during, after) == (None, ME, None)
    assert instance_file(present) == config_dir / "kitaru.db.attendant"


def test_second_instance_is_refused_and_named(config_dir: Path) -> None:
    present = settings.current()

    with (
        only_instance(present, ME),
        pytest.raises(KitaruStateError, match=rf"process {os.getpid()}\..*kitaru down"),
        only_instance(present, ME),
    ):
        pass
    with only_instance(present, ME):
        pass


def test_file_that_a_killed_attendant_left_means_nothing(config_dir: Path) -> None:
    present = settings.current()
    instance_file(present).write_text('{"pid": 1, "started_at": 5}')

    assert find_instance(present) is None
    with only_instance(present, ME):
        assert find_instance(present) == ME


def test_stores_have_attendants_of_their_own(config_dir: Path, tmp_path: Path) -> None:
    present = settings.current()
    other = present.having(store_url=f"sqlite://{tmp_path}/other.db")

    with only_instance(present, ME):
        assert find_instance(other) is None


def test_file_that_cannot_be_written_is_named(config_dir: Path) -> None:
    present = settings.current()
    instance_file(present).mkdir()

    with (
        pytest.raises(KitaruBackendError, match=r"kitaru\.db\.attendant"),
        only_instance(present, ME),
    ):
        pass


def test_attendant_runs_until_it_is_stopped(config_dir: Path) -> None:
    present = settings.current()
    stop, seen = threading.Event(), list[Instance]()

    def ready(instance: Instance) -> None:
        seen.append(instance)
        stop.set()

    attend(present, stop, ready=ready)

    assert [instance.pid for instance in seen] == [os.getpid()]
    assert find_instance(present) is None


@pytest.mark.slow
def test_attendant_in_the_background_is_started_once_and_stopped(config_dir: Path) -> None:
    present = settings.current()

    started = start_in_background(present)
    try:
        found = find_instance(present)
        with pytest.raises(KitaruStateError, match=str(started.pid)):
            start_in_background(present)
        stopped = stop_instance(present)
    finally:
        if psutil.pid_exists(started.pid):
            psutil.Process(started.pid).wait(PATIENCE_SECONDS)

    assert (found, stopped) == (started, started)
    assert (started.log, stop_instance(present)) == (str(config_dir / "attendant.log"), None)


@pytest.mark.slow
def test_attendant_that_is_killed_frees_its_store(config_dir: Path) -> None:
    present = settings.current()
    started = start_in_background(present)

    os.kill(started.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    psutil.Process(started.pid).wait(PATIENCE_SECONDS)

    assert find_instance(present) is None


@pytest.mark.slow
def test_attendant_that_cannot_begin_says_why(config_dir: Path) -> None:
    (config_dir / "kitaru.db").write_bytes(b"this is no database at all, but text" * 40)

    with pytest.raises(KitaruBackendError, match=r"could not be started: Error: .*kitaru\.db"):
        start_in_background(settings.current())
    process = subprocess.run(
        [sys.executable, "-m", "kitaru.attendant"], capture_output=True, text=True, check=False
    )

    assert process.returncode == 1
    assert process.stderr.startswith("Error: ")


def test_attendant_of_another_machine_is_not_stopped_from_here(config_dir: Path) -> None:
    present = settings.current()
    elsewhere = Instance(owner="far/1/1.0/x", pid=os.getpid(), started_at=5)

    with (
        only_instance(present, elsewhere),
        pytest.raises(KitaruBackendError, match="another machine or container"),
    ):
        stop_instance(present)
