"""`KitaruClient`: look at executions from outside, and act on them."""

from __future__ import annotations

from typing import Self

from kitaru import settings
from kitaru.client.answering import Waits
from kitaru.client.artifacts import Artifacts
from kitaru.client.connection import Connection
from kitaru.client.executions import Executions
from kitaru.client.upkeep import Upkeep
from kitaru.errors import KitaruFeatureNotAvailableError


class KitaruClient:
    """Reads and steers the executions of one project; usable as a context manager.

    Attributes:
        executions: Look executions up and act on them.
        artifacts: What they have kept.
        waits: The questions that they ask.
        upkeep: The store itself.

    Args:
        server_url: For servers, which this version cannot reach.
        auth_token: For servers.
        project: Another project than the settings name.

    Raises:
        KitaruFeatureNotAvailableError: A server is named.
        KitaruUsageError: The settings are not acceptable.
    """

    def __init__(
        self,
        *,
        server_url: str | None = None,
        auth_token: str | None = None,
        project: str | None = None,
    ) -> None:
        if server_url is not None or auth_token is not None:
            message = (
                "this version of Kitaru has no server; leave out `server_url` and `auth_token` to"
                " use the embedded store."
            )
            raise KitaruFeatureNotAvailableError(message)
        self._connection = Connection(settings.current().having(project=project))
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
