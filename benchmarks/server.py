"""`kitaru serve` as a process of its own, on loopback."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from benchmarks.measuring import ROOT, clean_environment
from tests.postgres import free_port

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        url: Where it is.
        pid: Of its process.
    """

    url: str
    pid: int


@contextmanager
def server_on(store_url: str, directory: Path) -> Generator[Server]:
    """Serve a store inside this block.

    Args:
        store_url: The store.
        directory: For large values.
    """
    port = free_port()
    complaints = directory / "server.log"
    with complaints.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "kitaru", "serve", "--port", str(port)],
            cwd=ROOT,
            env=clean_environment(KITARU_CONFIG_PATH=str(directory), KITARU_STORE_URL=store_url),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{complaints.read_text()}")
            time.sleep(0.02)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def processor_seconds(pid: int, *, with_children: bool = False) -> float:
    """Return the processor time that a process has used so far, of all its threads.

    Args:
        pid: The process.
        with_children: And that of the processes that it has started and that are still there.
    """
    process = psutil.Process(pid)
    found = 0.0
    for one in [process, *(process.children() if with_children else [])]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            found += times.user + times.system
    return found
