"""From a Postgres URL to the parameters of a connection, and to a URL that may be shown."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import conninfo

from kitaru.errors import KitaruUsageError

# A dead peer is noticed within some ten seconds instead of hours. Given by the URL, they stay as given.
_CONNECTION_DEFAULTS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "kitaru",
}


def parameters_of(url: str) -> dict[str, Any]:
    """Return the parameters of a connection: what the URL says, and our defaults for what it does not.

    Raises:
        KitaruUsageError: It is no URL of a Postgres database; the message does not quote it.
    """
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        # The driver's words may quote the URL with its password.
        message = (
            "the URL of the Postgres store cannot be read. It looks like"
            " 'postgresql://user:password@host:5432/database', with special characters percent-encoded."
        )
        raise KitaruUsageError(message) from error
    return {**_CONNECTION_DEFAULTS, **given}


def public_url(parameters: dict[str, Any]) -> str:
    """Return where a database is, without user and password."""
    host = str(parameters.get("host") or "localhost")
    port = parameters.get("port")
    name = parameters.get("dbname") or parameters.get("user") or ""
    if host.startswith("/"):
        return f"postgresql:///{name}?host={host}"
    return f"postgresql://{host}{f':{port}' if port else ''}/{name}"
