"""Three machines on one: a server, a worker, and a laptop that starts a run and answers its question.

    python -m examples.shared.demo

Each has a configuration folder of its own, and only the server has the store. The server is killed in the
middle of the run and started again; the worker waits for it, and no visit is made twice.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import kitaru
from kitaru import Execution, KitaruClient

SURVEY = "examples.shared.flows:survey"
PATIENCE_SECONDS = 60


class Machine:
    """A folder of its own, and commands that know of no other.

    Args:
        folder: Where its configuration lies.
        settings: Its environment.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KITARU_")}
        self._environment = {**kept, "KITARU_CONFIG_PATH": str(folder), **settings}

    def run(self, *words: str, said: str | None = None) -> str:
        """Run a command to its end, and return what it has printed."""
        done = subprocess.run(
            command(*words),
            env=self._environment,
            input=said,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    @contextmanager
    def start(self, *words: str) -> Generator[subprocess.Popen[str]]:
        """Start a command that goes on, and end it with the block."""
        with subprocess.Popen(
            command(*words),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "kitaru", *words]


def first_line(process: subprocess.Popen[str]) -> str:
    """Return the first line that a process says: it is ready."""
    assert process.stderr is not None
    return process.stderr.readline().strip()


def until(fits: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fits():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


def finished(execution: Execution) -> int:
    return sum(call.status == "completed" for call in execution.checkpoints)


def main() -> None:
    token = secrets.token_urlsafe(16)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        machine = Machine(folder / "server", KITARU_AUTH_TOKEN=token)
        server = stack.enter_context(machine.start("serve", "--port", "0"))
        url = first_line(server).partition(" at ")[2].partition(". ")[0]
        port = url.rpartition(":")[2]
        print("a server is there")

        worker = Machine(folder / "worker", KITARU_SERVER_URL=url, KITARU_AUTH_TOKEN=token)
        first_line(stack.enter_context(worker.start("worker", "examples.shared.flows")))
        print("a worker is there, which knows its URL and its token")

        laptop = Machine(folder / "laptop")
        laptop.run("login", url, "--api-key", "-", said=token)
        started = laptop.run("run", SURVEY, "--detach", "-o", "json")
        exec_id = json.loads(started)["item"]["exec_id"]
        kitaru.connect(url, api_key=token)  # this process, for looking at it
        executions = KitaruClient().executions
        until(lambda: finished(executions.get(exec_id)) >= 2)
        print("the worker runs what the laptop has started")

        server.send_signal(signal.SIGKILL)
        server.wait()
        again = stack.enter_context(machine.start("serve", "--port", port))
        first_line(again)
        print("the server was killed, and is there again")

        until(lambda: bool(executions.pending_waits(exec_id)))
        [asked] = executions.pending_waits(exec_id)
        print(f"the flow asks: {asked.question}")
        laptop.run("executions", "input", exec_id, "--value", "true")
        until(lambda: executions.get(exec_id).status.is_finished)

        execution = executions.get(exec_id)
        visits = [entry.message for entry in executions.logs(exec_id)]
        twice = len(visits) - len(set(visits))
        print(f"{execution.status}: {execution.result()}; {twice} visits were made twice")


if __name__ == "__main__":
    main()
