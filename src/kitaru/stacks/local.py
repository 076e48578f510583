"""The local stack: processes of this machine in sessions of their own, so that they outlive their starter."""

from __future__ import annotations

import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kitaru.errors import KitaruBackendError
from kitaru.stacks.processes import start_detached

if TYPE_CHECKING:
    from kitaru.model import ExecutionRecord
    from kitaru.settings import Settings
    from kitaru.store.contract import Store


_PAGE = 500


class LocalStack:
    """Starts processes on this machine. The methods are specified in `contract.py`.

    Args:
        settings: Which store the processes are to use, and where what they print goes.
    """

    name = "local"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._killed: list[str] = []

    def launch(self, execution: ExecutionRecord) -> int:
        exec_id = execution.id
        log = runner_log(self._settings, exec_id)
        settings = self._settings.having(project=execution.project)
        try:
            process = start_detached(
                settings,
                ("kitaru.worker", "--once", exec_id),
                log,
                python=_if_there(execution.spec.get("executable")),
                folder=_if_there(execution.spec.get("folder")),
            )
        except OSError as error:
            message = (
                f"no process could be started for execution {exec_id!r}: {error}."
                f" It stays pending, and `kitaru executions recover {exec_id}` continues it."
            )
            raise KitaruBackendError(message) from error
        with self._lock:
            self._processes.append((exec_id, process))
        return process.pid

    def take_killed(self) -> list[str]:
        with self._lock:
            self._look()
            killed, self._killed = self._killed, []
            return killed

    def count(self) -> int:
        with self._lock:
            self._look()
            return len(self._processes)

    def _look(self) -> None:
        ended = [(one, process) for one, process in self._processes if process.poll() is not None]
        # A negative exit code is the signal that has ended it, where there are signals.
        self._killed += [exec_id for exec_id, process in ended if process.returncode < 0]
        self._processes = [entry for entry in self._processes if entry not in ended]


def runner_log(settings: Settings, exec_id: str) -> Path:
    """Return the file that the processes started for an execution write to."""
    return runner_logs(settings) / f"{exec_id}.log"


def runner_logs(settings: Settings) -> Path:
    """Return the folder of the files that `runner_log` names."""
    return settings.config_dir / "runners"


def forget_runner_logs(settings: Settings, store: Store) -> None:
    """Remove what processes have said for executions that are gone, and files in which nothing was said."""
    folder = runner_logs(settings)
    with suppress(FileNotFoundError):
        files = sorted(folder.glob("*.log"))
        for start in range(0, len(files), _PAGE):
            page = files[start : start + _PAGE]
            statuses = store.get_statuses([file.stem for file in page])
            for file in page:
                status = statuses.get(file.stem)
                if status is None or (status.is_finished and file.stat().st_size == 0):
                    file.unlink(missing_ok=True)


def _if_there(path: object) -> str | None:
    """Return a path of the process that has started an execution, if it means something here."""
    return path if isinstance(path, str) and Path(path).exists() else None
