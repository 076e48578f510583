"""Runs scripts in processes of their own that need not load Kitaru first, which takes most of their time.

One process loads it, and is a single thread that has used nothing of it. For each script it forks a child,
and that becomes what `python script.py` would be: its `__main__`, its arguments, environment, folder and
output, and the interpreter's whole end. What the script does, opens and leaves is its own.

This file is also the script of the process that forks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

from kitaru.store.queries import load_statements

COMMAND = str(Path(__file__))
"""Is in the command of the process that forks, which is there for all tests."""

_CHILD_SECONDS = 90


class Preloaded:
    """A process that forks others. One for all tests of a process; it serves one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        script: Path,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        output: Path,
    ) -> tuple[int, int]:
        """Run a script to its end or its death; return its process id and exit status.

        Args:
            script: Becomes `__main__`.
            arguments: `sys.argv[1:]`.
            folder: Where it runs.
            environment: All that it has.
            output: Gets what it writes.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wanted = {
            "script": str(script),
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "output": str(output),
        }
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        pid, status = json.loads(self._process.stdout.readline())
        return pid, status

    def close(self) -> None:
        """End the process that forks."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


_MODULES = (
    "concurrent.futures.thread",
    "kitaru.attendant",
    "kitaru.authoring.artifacts",
    "kitaru.authoring.checkpoint",
    "kitaru.authoring.flow",
    "kitaru.authoring.replaying",
    "kitaru.authoring.waits",
    "kitaru.blobs.http",
    "kitaru.blobs.local",
    "kitaru.client.backup",
    "kitaru.client.exporting",
    "kitaru.client.importing",
    "kitaru.store.http",
    "kitaru.store.postgres",
    "kitaru.store.sqlite",
    "kitaru.testing",
    "kitaru.testing.kill",
    "kitaru.worker.resuming",
    "psutil",
)
# Read from files, once for each process, and never changed.
_STATEMENTS = (("sqlite", "?"), ("postgres", "%s"))


def _next_script() -> Path | None:
    """Serve until there is nothing more to do; in a child return what it is to run."""
    for line in sys.stdin:
        wanted = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return _become(wanted)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(json.dumps([pid, os.waitstatus_to_exitcode(status)]) + "\n")
        sys.stdout.flush()
    return None


def _become(wanted: dict[str, object]) -> Path:
    import signal

    # Whatever it waits for: a process that hangs dies, and its test says that it was killed.
    signal.alarm(_CHILD_SECONDS)
    environment = wanted["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(wanted["folder"]))
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(str(wanted["output"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(nothing, 0)
    os.dup2(written, 1)
    os.dup2(written, 2)
    script = Path(str(wanted["script"]))
    arguments = wanted["arguments"]
    assert isinstance(arguments, list)
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(script.parent)
    return script


if __name__ == "__main__":
    for name in _MODULES:
        importlib.import_module(name)
    for dialect, mark in _STATEMENTS:
        load_statements(dialect, mark)
    # What is there already is never freed, so that a child's collector need not copy it.
    gc.collect()
    gc.freeze()
    found = _next_script()
    if found is not None:
        code = compile(found.read_bytes(), str(found), "exec")
        main = types.ModuleType("__main__")
        main.__dict__.update(__file__=str(found), __builtins__=__builtins__)
        sys.modules["__main__"] = main
        exec(code, main.__dict__)
