"""Browsers at a server without a token: pages of strangers get nothing done and read nothing.

Whoever has a browser open on this machine lets the pages in it send requests to this machine. A page of
somewhere else that sends one says so in `Origin`. A page whose name was made to mean this machine says that
name in `Host`. Programs send neither.
"""

from __future__ import annotations

import functools
import ipaddress
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from kitaru.server.headers import header
from kitaru.server.problems import problem

# A client asks by one name all the time, and looking at one takes as long as routing a request.
_NAMES_KEPT = 256


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, for this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class NoStrangers:
    """An ASGI application that no page of another place can use.

    Args:
        app: What is behind it.
        only_loopback: Whether it is only ever asked for by a name of this machine.
    """

    def __init__(self, app: ASGIApp, *, only_loopback: bool) -> None:
        self._app = app
        self._only_loopback = only_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem."""
        if scope["type"] == "http":
            host, origin = header(scope, b"host") or "", header(scope, b"origin")
            detail = _objection(host, origin, only_loopback=self._only_loopback)
            if detail is not None:
                await problem(403, detail, code="auth")(scope, receive, send)
                return
        await self._app(scope, receive, send)


@functools.lru_cache(_NAMES_KEPT)
def _objection(host: str, origin: str | None, *, only_loopback: bool) -> str | None:
    if origin is not None and _place(origin) != host:
        return f"a page of {origin!r} may not use this server, which has no token to tell who asks."
    name = urlsplit(f"//{host}").hostname or "" if _is_plain(host) else ""
    if only_loopback and not is_loopback(name):
        return (
            f"this server is for its own machine, and was asked for as {host!r}. Set"
            f" `KITARU_AUTH_TOKEN` for the server, or start it with `kitaru serve --insecure` if"
            f" something in front of it decides who may."
        )
    return None


def _place(origin: str) -> str:
    """Return host and port of an origin, as `Host` has them."""
    return origin.partition("://")[2]


def _is_plain(host: str) -> bool:
    try:
        urlsplit(f"//{host}")
    except ValueError:  # half an IPv6 address
        return False
    return True
