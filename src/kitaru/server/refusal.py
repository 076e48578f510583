"""Requests that the server does not even begin to do."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException


class Refusal(HTTPException):
    """A request is not acceptable, and why; it becomes a problem.

    It is an `HTTPException` so that FastAPI lets it pass where it reads a body.

    Attributes:
        code: Of the exception that a client raises.
        more: What the problem says beside its detail.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "usage",
        more: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.more = more or {}
