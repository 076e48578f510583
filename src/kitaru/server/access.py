"""The server's door: who may come in, in which version, and what every answer says of the server."""

from __future__ import annotations

import hmac

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kitaru._version import __version__
from kitaru.server.headers import header
from kitaru.server.problems import problem
from kitaru.server.timekeeping import Timekeeper
from kitaru.wire.versions import (
    CLOCK_HEADER,
    OLDEST_WIRE_VERSION,
    VERSION_HEADER,
    WIRE_HEADER,
    WIRE_VERSION,
    find_disagreement,
)

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What anybody may ask: load balancers have no token."""


_CLOCK, _WIRE, _VERSION = (
    name.lower().encode() for name in (CLOCK_HEADER, WIRE_HEADER, VERSION_HEADER)
)


class Door:
    """An ASGI application that only those enter who may.

    Args:
        app: What is behind it.
        token: What they have to show; None lets everybody in.
        time: Where the moment comes from that answers carry.
        spoken: The oldest and the newest wire version that are understood.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        time: Timekeeper,
        spoken: tuple[int, int] = (OLDEST_WIRE_VERSION, WIRE_VERSION),
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._time = time
        self._spoken = spoken
        said = {VERSION_HEADER: __version__, WIRE_HEADER: str(spoken[1])}
        self._greeting = [(name.lower().encode(), value.encode()) for name, value in said.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def greet(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *self._greeting]
                now = self._time.glance()
                if now is not None:
                    headers.append((_CLOCK, str(now).encode()))
                message["headers"] = headers
            await send(message)

        shown = header(scope, b"authorization")
        if scope["path"] not in OPEN_PATHS and not self._knows(shown):
            given = "no token" if shown is None else "another token"
            detail = (
                f"this server lets in whoever shows its token, and the request has {given}. Set"
                f" `KITARU_AUTH_TOKEN`, or log in with `kitaru login`."
            )
            await problem(401, detail, code="auth")(scope, receive, greet)
            return
        asked, version = header(scope, _WIRE), header(scope, _VERSION)
        disagreement = find_disagreement(asked, version, spoken=self._spoken)
        if disagreement is not None:
            more = {"server_version": __version__, "server_wire": list(self._spoken)}
            refused = problem(400, disagreement, code="feature_not_available", more=more)
            await refused(scope, receive, greet)
            return
        await self._app(scope, receive, greet)

    def _knows(self, authorization: str | None) -> bool:
        if self._token is None:
            return True
        scheme, _, shown = (authorization or "").partition(" ")
        # In constant time: how long it takes says nothing about where the first difference is.
        is_same = hmac.compare_digest(shown.strip().encode(), self._token)
        return is_same and scheme.lower() == "bearer"
