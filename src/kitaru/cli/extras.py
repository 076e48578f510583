"""Rooms of Kitaru that need libraries which a plain installation does not have."""

from __future__ import annotations

from importlib.util import find_spec

from kitaru.errors import KitaruFeatureNotAvailableError

_SERVER = ("fastapi", "uvicorn", "prometheus_client")


def has_server() -> bool:
    """Return whether what a server needs is installed."""
    return all(find_spec(name) is not None for name in _SERVER)


def require_server() -> None:
    """Raise `KitaruFeatureNotAvailableError` if what a server needs is not installed."""
    missing = [name for name in _SERVER if find_spec(name) is None]
    if missing:
        message = (
            f"a server needs {', '.join(map(repr, missing))}, which this installation does not have:"
            f" `pip install 'kitaru[server]'`"
        )
        raise KitaruFeatureNotAvailableError(message)
