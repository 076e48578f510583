"""Who holds a lease: one process, named so that others on the same machine can tell whether it lives."""

from __future__ import annotations

import functools
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# Process start times come from the kernel in clock ticks (10 ms) and, where they are derived from the
# boot time, may move by that much between two readings. A pid is not reused within a second.
_START_TIME_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process as a lease names it.

    Attributes:
        host: Identifies the machine, its present boot, and the pid namespace; processes whose `host` is
            equal see each other's pids.
        pid: Process id within that namespace.
        started_at: When the process started, in seconds since the epoch.
        nonce: Tells apart what the other fields cannot.
    """

    host: str
    pid: int
    started_at: float
    nonce: str

    def __str__(self) -> str:
        return f"{self.host}/{self.pid}/{self.started_at:.2f}/{self.nonce}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what `str(owner)` wrote; None if it was written by something else."""
        parts = text.split("/")
        if len(parts) != 4:
            return None
        try:
            return cls(parts[0], int(parts[1]), float(parts[2]), parts[3])
        except ValueError:
            return None

    def is_on_this_host(self) -> bool:
        """Whether this process can see that one's pid."""
        return self.host == _host()

    def is_dead(self) -> bool:
        """Whether the process is certainly gone; False when it cannot be known from here."""
        if not self.is_on_this_host():
            return False
        started_at = _start_time(self.pid)
        return started_at is None or (
            abs(started_at - self.started_at) > _START_TIME_TOLERANCE_SECONDS
        )


_owners: dict[int, Owner] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_owners.clear)


def current_owner() -> Owner:
    """Return this process, the same to all its threads; a forked child is another owner than its parent."""
    pid = os.getpid()
    owner = _owners.get(pid)
    if owner is None:
        # A worker and its attendant ask at the same moment. Each makes a nonce, and only one may count: a
        # claim under the other would never be renewed. `setdefault` decides, and needs no lock after a fork.
        made = Owner(_host(), pid, _start_time(pid) or 0.0, uuid.uuid4().hex[:8])
        owner = _owners.setdefault(pid, made)
    return owner


@functools.lru_cache(maxsize=1)
def _host() -> str:
    """Return machine, boot and pid namespace in one word without slashes."""
    import psutil

    machine = _read("/etc/machine-id") or f"{uuid.getnode():x}"
    boot = _read("/proc/sys/kernel/random/boot_id") or str(round(psutil.boot_time()))
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return "+".join(part.replace("/", "-") for part in (machine, boot, namespace))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _start_time(pid: int) -> float | None:
    """Return when a process started, or None if there is no such process (a zombie is none)."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        # It exists but belongs to someone else; its lease will tell in time.
        return float("nan")
