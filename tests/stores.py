"""The kinds of store that tests run on: a file, a Postgres database, and a server.

The server is a process of its own with a Postgres database, which is what a team has. It is started once for
all tests of a process; each gets it with an empty database. Nobody but the test wakes or takes back what is
in it.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kitaru.settings_rules import file_url, sqlite_url
from tests.postgres import Databases, free_port
from tests.server_process import ServerProcess

KINDS = ("sqlite", "postgres", "http")
FILE, POSTGRES, HTTP = KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where executions and large values are kept.

    Attributes:
        kind: One of `KINDS`.
        store_url: The store's.
        artifact_store: The large values'.
    """

    kind: str
    store_url: str
    artifact_store: str

    @classmethod
    def in_folder(cls, folder: Path) -> Place:
        """Return the place that Kitaru uses in a folder if nobody says anything else."""
        return cls(
            kind=FILE,
            store_url=sqlite_url(folder / "kitaru.db"),
            artifact_store=file_url(folder / "blobs"),
        )

    def environment(self) -> dict[str, str]:
        """Return what leads a process of Kitaru here; it is nothing where it comes by itself."""
        if self.kind == FILE:
            return {}
        return {"KITARU_STORE_URL": self.store_url, "KITARU_ARTIFACT_STORE": self.artifact_store}


class Places:
    """Where to get empty places from. One for all tests of a process.

    Args:
        databases: Returns where databases come from; called when the first is needed.
    """

    def __init__(self, databases: Callable[[], Databases]) -> None:
        self._databases = databases
        self._server: _Server | None = None

    @contextlib.contextmanager
    def empty(self, kind: str, folder: Path) -> Iterator[Place]:
        """Give a place of a kind in which nothing is; nobody else has it meanwhile.

        Args:
            kind: One of `KINDS`.
            folder: For files, of which there are the more the closer the place is.
        """
        if kind == FILE:
            yield Place.in_folder(folder)
        elif kind == POSTGRES:
            with self._databases().empty() as url:
                yield Place(
                    kind=kind, store_url=url, artifact_store=Place.in_folder(folder).artifact_store
                )
        else:
            if self._server is None:
                self._server = _Server(self._databases())
            yield self._server.emptied()

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.close()


class _Server:
    """The one server, its database and its large values."""

    def __init__(self, databases: Databases) -> None:
        self._stack = contextlib.ExitStack()
        self._databases = databases
        self._url = self._stack.enter_context(databases.empty())
        folder = Path(tempfile.mkdtemp(prefix="kitaru-server-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = {
            "KITARU_CONFIG_PATH": str(folder),
            "KITARU_STORE_URL": self._url,
            "KITARU_ARTIFACT_STORE": file_url(folder / "blobs"),
        }
        self._process = ServerProcess(free_port(), environment, attends=False)
        self._process.start()
        self._stack.callback(self._process.kill)

    def emptied(self) -> Place:
        # Large values stay: they are found by what they are.
        self._databases.clear(self._url)
        url = self._process.url
        return Place(kind=HTTP, store_url=url, artifact_store=url)

    def close(self) -> None:
        self._stack.close()
