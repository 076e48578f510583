"""`KitaruClient`: look at executions from outside, and act on them."""

from __future__ import annotations

from typing import Self

from kitaru import settings
from kitaru.client.answering import Waits
from kitaru.client.artifacts import Artifacts
from kitaru.client.connection import Connection
from kitaru.client.executions import Executions
from kitaru.client.upkeep import Upkeep
from kitaru.errors import KitaruUsageError


class KitaruClient:
    """Reads and steers the executions of one project; usable as a context manager.

    Attributes:
        executions: Look executions up and act on them.
        artifacts: What they have kept.
        waits: The questions that they ask.
        upkeep: The store itself.

    Args:
        server_url: Another server than the settings name, or one instead of the embedded store.
        auth_token: Who asks it. A token that settings have from a file is for the server there alone.
        project: Another project than the settings name.

    Raises:
        KitaruUsageError: The settings are not acceptable, or there is a token and no server.
    """

    def __init__(
        self,
        *,
        server_url: str | None = None,
        auth_token: str | None = None,
        project: str | None = None,
    ) -> None:
        present = settings.current().having(
            server_url=server_url, auth_token=auth_token, project=project
        )
        if auth_token is not None and not settings.is_server(present.store_url):
            message = (
                "`auth_token` is for a server, and executions are kept in"
                f" {settings.masked_url(present.store_url)!r}. Give `server_url` as well."
            )
            raise KitaruUsageError(message)
        self._connection = Connection(present)
        self.executions = Executions(self._connection)
        self.artifacts = Artifacts(self.executions)
        self.waits = Waits(self._connection)
        self.upkeep = Upkeep(self._connection)

    def close(self) -> None:
        """Let go of the store; the next use opens it again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
