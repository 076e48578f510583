"""The local stack: processes of this machine in sessions of their own, so that they outlive their starter."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from kitaru import settings as configuration
from kitaru.errors import KitaruBackendError

if TYPE_CHECKING:
    from kitaru.settings import Settings

# On Windows, a process of the same console would end with it; elsewhere the session of its own is enough.
_DETACHED: int = getattr(subprocess, "DETACHED_PROCESS", 0)


class LocalStack:
    """Starts processes on this machine. The methods are specified in `contract.py`.

    Args:
        settings: Which store the processes are to use, and where what they print goes.
    """

    name = "local"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []

    def launch(self, exec_id: str) -> int:
        file = runner_log(self._settings, exec_id)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 - this interpreter, with an id from the store
                    [sys.executable, "-m", "kitaru.worker", "--once", exec_id],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=configuration.environment_of(self._settings),
                    start_new_session=True,
                    creationflags=_DETACHED,
                )
        except OSError as error:
            message = (
                f"no process could be started for execution {exec_id!r}: {error}."
                f" It stays pending, and `kitaru executions recover {exec_id}` continues it."
            )
            raise KitaruBackendError(message) from error
        with self._lock:
            self._processes.append(process)
        return process.pid

    def count(self) -> int:
        with self._lock:
            # Asking also takes up the exit code, without which an ended process stays as a zombie.
            self._processes = [process for process in self._processes if process.poll() is None]
            return len(self._processes)


def runner_log(settings: Settings, exec_id: str) -> Path:
    """Return the file that the processes started for an execution write to."""
    return settings.config_dir / "runners" / f"{exec_id}.log"
