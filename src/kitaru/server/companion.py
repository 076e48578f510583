"""The API beside an attendant, on this machine only: what `kitaru up` serves."""

from __future__ import annotations

from collections.abc import Callable

from kitaru.errors import KitaruUsageError
from kitaru.server.running import HttpServer, bind
from kitaru.server.visitors import is_loopback
from kitaru.settings import Settings


def companion_of(settings: Settings, *, host: str, port: int) -> Callable[[], HttpServer]:
    """Return what makes the server beside an attendant, when its turn comes.

    Raises:
        KitaruUsageError: Other machines could reach the host.
    """
    if not is_loopback(host):
        message = (
            f"`kitaru up` serves this machine alone, and {host!r} can be reached by others. Use `kitaru"
            f" serve` for that."
        )
        raise KitaruUsageError(message)
    return lambda: HttpServer(settings, bind(host, port))
