"""A store for tests: private, fast, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kitaru import settings
from kitaru.clock import present_clock, use_clock
from kitaru.errors import KitaruStateError
from kitaru.settings_rules import file_url, sqlite_url
from kitaru.testing.clock import FakeClock

if TYPE_CHECKING:
    from kitaru.client import KitaruClient
    from kitaru.clock import Clock
    from kitaru.worker import LocalRunner

# Memory-backed, where there is one with some room: containers often have little.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_ROOM_BYTES = 256 * 1024 * 1024

# For runs that are told to stop; who does not listen for so long is left behind.
_PATIENCE_SECONDS = 10.0
_MOST_EXECUTIONS = 10_000


@dataclass(frozen=True)
class TestStore:
    """A store that is in use.

    Attributes:
        folder: Everything that it consists of.
        clock: What `run_flow` goes by unless another clock is in use.
    """

    __test__ = False  # to pytest, which would take it for a class of tests by its name

    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)

    @property
    def url(self) -> str:
        """The store, as settings name it."""
        return sqlite_url(self.folder / "kitaru.db")


_open: list[TestStore] = []


def present_store() -> TestStore | None:
    """Return the innermost test store that is in use."""
    return _open[-1] if _open else None


@contextlib.contextmanager
def memory_store(*, clock: Clock | None = None) -> Generator[KitaruClient]:
    """Have Kitaru use a private, empty store in this block, and yield a client for it.

    It is kept in memory where the machine has a folder for that; commits are not flushed to disk. Flows,
    clients and commands of this process use it; other settings stay as they are. At the end of the block
    runs that are still going on are stopped, and everything is closed and removed.

    Args:
        clock: The time for everything that begins in the block, such as a `FakeClock`.
    """
    from kitaru.client import KitaruClient
    from kitaru.store import open_store

    folder = Path(tempfile.mkdtemp(prefix="kitaru-test-", dir=_fast_place()))
    try:
        with contextlib.ExitStack() as stack:
            if clock is not None:
                stack.enter_context(use_clock(clock))
            store = stack.enter_context(use_store(folder))
            open_store(store.url, flushes=False)
            yield KitaruClient()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def use_store(folder: Path) -> Generator[TestStore]:
    """Have Kitaru keep everything in a folder in this block; close the store at its end."""
    clock = present_clock()
    store = TestStore(folder, clock if isinstance(clock, FakeClock) else FakeClock())
    before = settings.overrides()
    settings.override(
        config_dir=folder,
        store_url=store.url,
        artifact_store=file_url(folder / "blobs"),
        # It would start processes, in which a test's fakes are not.
        attendant=False,
    )
    _open.append(store)
    try:
        yield store
    finally:
        _open.remove(store)
        try:
            close_store(store.url)
        finally:
            # Also what was configured in the block.
            names = {*before, *settings.overrides()}
            settings.override(**{name: before.get(name) for name in names})


def close_store(url: str) -> None:
    """Stop this process's runs on a store, and close all that belongs to it."""
    from kitaru.store.opening import forget_store
    from kitaru.worker.runners import forget_runners

    runners = forget_runners(url)
    for runner in runners:
        _stop_runs(runner)
        runner.close()
    forget_store(url)


def freeze_store(snapshot: Path) -> set[str]:
    """Copy the present store, which nobody uses meanwhile, and return the executions in it.

    Raises:
        KitaruStateError: Executions are still going on in this process.
    """
    from kitaru.model import ExecutionFilter
    from kitaru.store import open_store
    from kitaru.worker.runners import all_runners

    store = present_store()
    assert store is not None  # noqa: S101 - `run_flow` has seen to it
    running = [local for runner in all_runners() for local in runner.in_flight()]
    if running:
        names = ", ".join(f"{local.exec_id!r} of flow {local.flow!r}" for local in running)
        message = (
            f"runs cannot be disturbed while others are going on in the test: {names}."
            f" Wait for them before `run_flow`."
        )
        raise KitaruStateError(message)
    where = ExecutionFilter(project=settings.current().project)
    known = {e.id for e in open_store(store.url).list_executions(where, limit=_MOST_EXECUTIONS)}
    close_store(store.url)
    shutil.copytree(store.folder, snapshot)
    open_store(store.url, flushes=False)
    return known


def _stop_runs(runner: LocalRunner) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    running = runner.in_flight()
    for local in running:
        local.run.release()
    for local in running:
        try:
            local.finished.exception(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            message = (
                f"execution {local.exec_id!r} of flow {local.flow!r} is still running, and its store is"
                f" closed: code that it has called has not returned for {_PATIENCE_SECONDS:.0f} s."
            )
            warnings.warn(message, ResourceWarning, stacklevel=2)


def _fast_place() -> str | None:
    """Return a folder in memory, or None for the usual place."""
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    return str(_MEMORY) if shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES else None
