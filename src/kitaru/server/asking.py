"""What routes for people share: whose executions are meant, who asks, how answers and errors look.

A `POST` may carry an `Idempotency-Key`. Then what it does and its answer are one transaction, and the same
request with the same key is given the same answer, however often it comes. The kept answer begins with a
hash of the request: a key that comes with another request is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, cast

import msgspec
from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import BeforeValidator, StringConstraints

from kitaru.server.desk import Desk
from kitaru.server.documents import Problem
from kitaru.server.refusal import Refusal
from kitaru.server.serving import Serving
from kitaru.wire.versions import KEY_HEADER

JSON = "application/json"
LONGEST_KEY = 200
_HASH_BYTES = 32
VISIBLE = r"^[^\x00]*$"  # some databases know no character 0

Shape = dict[str, Any]


def _written_out(value: object) -> object:
    """Refuse seconds since the epoch, of which nobody knows whether they are seconds."""
    if isinstance(value, str) and re.fullmatch(r"[\d.+-]+", value):
        message = "expected a moment such as 2026-01-31T12:00:00Z"
        raise ValueError(message)
    return value


ExecId = Annotated[
    str,
    Path(
        description="An execution's id, or how it begins if no other one does.",
        min_length=1,
        max_length=100,
        pattern=VISIBLE,
    ),
]
Word = Annotated[str | None, Query(min_length=1, max_length=500, pattern=VISIBLE)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00\r\n]*$")]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
Moment = Annotated[datetime, BeforeValidator(_written_out)]
Key = Annotated[
    str | None,
    Header(
        alias=KEY_HEADER,
        min_length=1,
        max_length=LONGEST_KEY,
        description="The same for the same request when it is sent again: it is done once.",
    ),
]

_SAID = {
    400: "The request cannot be read.",
    401: "The server's token is missing or wrong.",
    403: "The request comes from a page of somewhere else.",
    404: "There is no such thing.",
    409: "It is not in a state that allows this, or its id means several.",
    413: "The request brings too much.",
    422: "The request is not acceptable.",
    500: "The server failed; its log says why.",
    501: "This version, or a server at all, cannot do this.",
    503: "The database cannot be reached; it is worth trying again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors that a route documents: those that every route may have, and these."""
    return {
        status: {"description": _SAID[status], "model": Problem}
        for status in sorted({400, 401, 403, 422, 500, 503, *statuses})
    }


def desk_of(
    request: Request,
    project: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=200,
            pattern=VISIBLE,
            description="Whose executions are meant; the server's own project if not given.",
        ),
    ] = None,
) -> Desk:
    """Return what a request works with."""
    client = "unknown" if request.client is None else request.client.host
    return Desk(Serving.of(request), project=project, asker=f"http@{client}")


InProject = Annotated[Desk, Depends(desk_of)]


def anywhere(request: Request) -> Desk:
    """Return what a request works with that names its execution: ids are unique over all projects."""
    return desk_of(request)


AtDesk = Annotated[Desk, Depends(anywhere)]


def encode(shape: Shape) -> bytes:
    """Return a shape as JSON, whatever values of users are in it."""
    try:
        return msgspec.json.encode(shape)
    # Half a character, or a number beyond 64 bits: JSON has a form for both, which this encoder has not.
    except (UnicodeEncodeError, OverflowError, ValueError):
        return json.dumps(_finite(shape)).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in cast("Shape", value).items()}
    if isinstance(value, list):
        return [_finite(part) for part in cast("list[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def answer(shape: Shape, status: int = 200) -> Response:
    """Return a shape as an answer."""
    return Response(encode(shape), status, media_type=JSON)


def listed(items: list[Any], **more: Any) -> Response:
    """Return several shapes as an answer."""
    return answer({**more, "items": items, "count": len(items)})


def once(
    request: Request,
    desk: Desk,
    key: str | None,
    work: Callable[[Desk], Shape],
    *,
    body: object = None,
    status: int = 200,
) -> Response:
    """Do what a request asks for, and answer; do it once if the request has a key.

    Args:
        request: What is asked.
        desk: Who does it.
        key: The request's own key, if it has one.
        work: Does it, at the desk that it is given, and returns the answer.
        body: What the request brought, to tell it from others.
        status: Of the answer.

    Durability: with a key, one transaction for the work and its answer.
    """
    if key is None:
        return answer(work(desk), status)
    asked = hashlib.sha256(
        msgspec.json.encode([request.method, request.url.path, request.url.query, body])
    ).digest()
    kept, _ = Serving.of(request).store.perform_once(
        f"rest:{key}", lambda store: asked + encode(work(desk.within(store)))
    )
    if kept[:_HASH_BYTES] != asked:
        detail = (
            f"the `{KEY_HEADER}` {key!r} was used before, for another request. Nothing was done; each"
            f" request needs a key of its own."
        )
        raise Refusal(422, detail)
    return Response(kept[_HASH_BYTES:], status, media_type=JSON)
