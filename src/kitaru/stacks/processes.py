"""Processes that outlive the one that starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kitaru import settings as configuration

if TYPE_CHECKING:
    from kitaru.settings import Settings

# On Windows, a process of the same console would end with it; elsewhere the session of its own is enough.
_DETACHED: int = getattr(subprocess, "DETACHED_PROCESS", 0)

# Those that may still run: Python warns of one that is forgotten before it has ended.
_started: list[subprocess.Popen[bytes]] = []


def start_detached(
    settings: Settings,
    arguments: Sequence[str],
    log: Path,
    *,
    python: str | None = None,
    folder: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start `python -m ARGUMENTS` with these settings, in a session of its own.

    Args:
        settings: What the process is to have.
        arguments: Module and arguments.
        log: The file that what it prints is added to; only its owner may read it.
        python: The interpreter, if not this one.
        folder: The folder that it works in, if not this one's.

    Raises:
        OSError: It cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab", opener=_only_for_its_owner) as output:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of Kitaru's own
            [python or sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=configuration.environment_of(settings),
            start_new_session=True,
            creationflags=_DETACHED,
        )
    # Asking also takes up the exit code, without which an ended process stays as a zombie.
    _started[:] = [one for one in [*_started, process] if one.poll() is None]
    return process


def _only_for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
