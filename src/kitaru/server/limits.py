"""How much a request may bring, and how slowly: whoever sends more, or hardly anything, is told so.

A body that is announced as too large is read and dropped before the answer, within bounds, because a client
that is still sending does not see what is said meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kitaru.server.problems import problem
from kitaru.server.refusal import Refusal

MOST_BYTES = 64 * 1024 * 1024
"""What one request may bring, where nothing else is said."""

SILENT_SECONDS = 20.0
"""How long the sender of a body may say nothing, where nothing else is said."""

_SLOWEST_BYTES_PER_SECOND = 16 * 1024
_MOST_DROPPED_BYTES = 1024 * 1024 * 1024


class BodyLimits:
    """An ASGI application whose requests have bodies of bounded size, sent at a reasonable pace.

    Args:
        app: What is behind it.
        most_bytes: The limit.
        others: Other limits, for paths that begin with these texts.
        silent_seconds: How long the sender of a body may say nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most_bytes: int = MOST_BYTES,
        others: Mapping[str, int] | None = None,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._others = dict(others or {})
        self._silent_seconds = silent_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with a `receive` that counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._limit_of(scope["path"]), self._silent_seconds)
        announced = _announced_bytes(scope)
        if announced is not None and announced > body.most_bytes:
            try:
                await body.drop(announced)
                refusal = body.too_large(announced)
            except Refusal as error:
                refusal = error
            response = problem(
                refusal.status_code, refusal.detail, code=refusal.code, headers=_CLOSE
            )
            await response(scope, receive, send)
            return
        await self._app(scope, body.receive, send)

    def _limit_of(self, path: str) -> int:
        for start, limit in self._others.items():
            if path.startswith(start):
                return limit
        return self._most_bytes


_CLOSE = {"Connection": "close"}


class _Body:
    """One request's body while it comes in."""

    __slots__ = ("_began", "_is_complete", "_receive", "_received", "_silent_seconds", "most_bytes")

    def __init__(self, receive: Receive, most_bytes: int, silent_seconds: float) -> None:
        self._receive = receive
        self._silent_seconds = silent_seconds
        self._began = time.monotonic()
        self._received = 0
        self._is_complete = False
        self.most_bytes = most_bytes

    async def receive(self) -> Message:
        """Return the next message of the request.

        Raises:
            Refusal: The body is too large, or too slow.
        """
        message = await self._next()
        if self._received > self.most_bytes:
            raise self.too_large(self._received)
        return message

    async def drop(self, announced: int) -> None:
        """Read the body to its end and forget it."""
        while not self._is_complete and self._received < min(announced, _MOST_DROPPED_BYTES):
            if (await self._next())["type"] == "http.disconnect":
                return

    def too_large(self, size: int) -> Refusal:
        detail = (
            f"the request has {size} bytes or more, and this server takes {self.most_bytes} at most."
            f" Send less at once."
        )
        return Refusal(413, detail, headers=_CLOSE)

    async def _next(self) -> Message:
        if self._is_complete:  # only the end of the connection is still to come, however late
            return await self._receive()
        try:
            async with asyncio.timeout(self._silent_seconds):
                message = await self._receive()
        except TimeoutError:
            raise self._too_slow() from None
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._is_complete = not message.get("more_body", False)
            spent = time.monotonic() - self._began
            if not self._is_complete and spent > (
                self._silent_seconds + self._received / _SLOWEST_BYTES_PER_SECOND
            ):
                raise self._too_slow()
        return message

    def _too_slow(self) -> Refusal:
        detail = (
            f"the request's body came too slowly: {self._received} bytes in"
            f" {time.monotonic() - self._began:.0f} s. Nothing was done; send it again."
        )
        return Refusal(408, detail, code="backend", headers=_CLOSE)


def _announced_bytes(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None
