"""What it takes to be let in by a server, apart from its URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAccess:
    """How a server is reached; it says nothing of the server itself.

    Attributes:
        auth_token: Who asks; nobody in particular, if there is none. It is never shown.
        verify_ssl: Whether a server that cannot prove its name is refused.
        ssl_ca_cert: A file of certificates to trust instead of the system's.
        timeout_seconds: How long one request may take.
    """

    auth_token: str | None = field(default=None, repr=False)
    verify_ssl: bool = True
    ssl_ca_cert: Path | None = None
    timeout_seconds: float = 30.0


NO_ACCESS = ServerAccess()
"""What stores without a server are opened with."""
