"""Who keeps a SQLite file locked, where the system tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# SQLite's WAL_WRITE_LOCK in the shared-memory file: https://www.sqlite.org/walformat.html#wal_locks
_WRITER = 120
_LOCKS = Path("/proc/locks")  # Linux only; elsewhere nothing is told


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has the right to write.

    Attributes:
        pid: Its number.
        is_stopped: Whether it stands still: SIGSTOP, Ctrl-Z, a debugger.
    """

    pid: int
    is_stopped: bool

    def __str__(self) -> str:
        if not self.is_stopped:
            return f"process {self.pid} is writing to it"
        return (
            f"process {self.pid} was stopped in the middle of a commit: `kill -CONT {self.pid}` lets it go"
            f" on, `kill -9 {self.pid}` ends it, and nothing is lost"
        )


def find_holder(path: Path) -> Holder | None:
    """Return who has the right to write to a database file; None if nobody has, or it cannot be told."""
    try:
        inode = Path(f"{path}-shm").stat().st_ino
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        # 1: POSIX  ADVISORY  WRITE 4711 fd:00:262146 120 120
        words = line.split()
        if len(words) < 8 or words[1:4] != ["POSIX", "ADVISORY", "WRITE"]:  # one waits: `->`
            continue
        first, last = words[6], words[7]
        is_writer = first.isdigit() and last.isdigit() and int(first) <= _WRITER <= int(last)
        if is_writer and words[5].rpartition(":")[2] == str(inode):
            return Holder(int(words[4]), _is_stopped(int(words[4])))
    return None


def _is_stopped(pid: int) -> bool:
    import psutil

    try:
        status = psutil.Process(pid).status()
    except psutil.Error:
        return False
    return status in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
