"""Servers in processes of their own, which outlive those who use them, and are killed at will.

Two sorts: `kitaru serve`, as a team has it, and a bare one for tests in which nobody but the test is to wake
or take back an execution. This file is also the script of the bare one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

PATIENCE_SECONDS = 60.0
SHARED = str(Path(__file__))
"""Is in the command of the bare server that is there for all tests, and outlives each."""
_SERVE = (sys.executable, "-m", "kitaru", "serve", "--port")


class ServerProcess:
    """A server on a port of loopback, which stays the same when it is started again.

    Args:
        port: Where it listens.
        environment: The settings that it has.
        attends: Whether it looks after executions, as `kitaru serve` does.
    """

    def __init__(self, port: int, environment: Mapping[str, str], *, attends: bool) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {**os.environ, **environment}
        self._command = [*_SERVE, str(port)] if attends else [sys.executable, SHARED, str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it answers."""
        self.launch()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.answers():
            assert self._process is not None
            assert self._process.poll() is None, "the server has ended; it says above why"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)

    def launch(self) -> None:
        """Start it without waiting for it."""
        # It ends by itself once nobody holds the other end of its input.
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )

    def answers(self) -> bool:
        """Return whether it takes requests now."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """Kill it where it stands."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Have it end as it does when it is asked to."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.wait(PATIENCE_SECONDS)
        if process.stdin is not None:
            process.stdin.close()


def _main(port: int) -> None:
    from kitaru import settings
    from kitaru.server.running import LOOPBACK, HttpServer, bind

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = HttpServer(settings.current(), bind(LOOPBACK, port))
    server.start()
    try:
        sys.stdin.read()
    finally:
        server.stop()


if __name__ == "__main__":
    _main(int(sys.argv[1]))
