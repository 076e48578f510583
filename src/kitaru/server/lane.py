"""A way past the routing for the one request that comes all the time.

Finding a route among a hundred, and the layers that a framework has around each, cost as much processor time
as committing a checkpoint does. What a runner asks of the store is answered before that; everything else
goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kitaru.errors import KitaruError
from kitaru.server.problems import answer_kitaru_error, answer_refusal
from kitaru.server.refusal import Refusal


class FastLane:
    """An ASGI application that answers `POST` below one path by itself.

    Args:
        app: What is behind it, for all other requests.
        below: The path, with a slash at its end.
        parameter: What the rest of the path is called in the request's `path_params`.
        endpoint: What answers.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        below: str,
        parameter: str,
        endpoint: Callable[[Request], Awaitable[Response]],
    ) -> None:
        self._app = app
        self._below = below
        self._parameter = parameter
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        is_ours = scope["type"] == "http" and scope["path"].startswith(self._below)
        rest = scope["path"][len(self._below) :] if is_ours else ""
        if not rest or "/" in rest or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["endpoint"], scope["path_params"] = self._endpoint, {self._parameter: rest}
        request = Request(scope, receive, send)
        try:
            response = await self._endpoint(request)
        except KitaruError as error:
            response = await answer_kitaru_error(request, error)
        except Refusal as error:
            response = await answer_refusal(request, error)
        await response(scope, receive, send)
