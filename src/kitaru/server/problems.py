"""Errors as answers: `application/problem+json`, with the stable codes of `kitaru.errors`.

A problem has `type`, `title`, `status`, `detail` and `code`, and what else its exception says, so that a
client raises the same exception. Texts never decide anything.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from kitaru.errors import KitaruError
from kitaru.server.refusal import Refusal
from kitaru.wire.problems import PROBLEM_TYPE, attributes_of

STATUSES: dict[str, int] = {
    "error": 500,
    "usage": 422,
    "wait_validation": 422,
    "serialization": 422,
    "stack_dependency": 422,
    "deployment_inputs": 422,
    "context": 409,
    "state": 409,
    "not_found": 404,
    "timeout": 408,
    "runtime": 500,
    "backend": 503,
    "log_retrieval": 502,
    "auth": 401,
    "execution": 409,
    "user_code": 409,
    "divergence": 409,
    "wait_aborted": 409,
    "wait_expired": 409,
    "budget_exceeded": 409,
    "feature_not_available": 501,
}
"""The status of each code. A database that cannot be reached is 503: it is worth trying again."""

RETRY_AFTER_SECONDS = 1

_CODES = {401: "auth", 404: "not_found", 409: "state", 501: "feature_not_available"}
_log = logging.getLogger("kitaru.server")


def problem(
    status: int,
    detail: str,
    *,
    code: str,
    more: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer that says what went wrong.

    Args:
        status: The HTTP status.
        detail: What happened to which thing, why, and what to do.
        code: Of the exception that a client raises.
        more: What else to say, beside the members that every problem has.
        headers: Of the response.
    """
    content = {
        **(more or {}),
        "type": f"urn:kitaru:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    given = dict(headers or {})
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        given.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    if status == HTTPStatus.UNAUTHORIZED:
        given.setdefault("WWW-Authenticate", "Bearer")
    return Response(msgspec.json.encode(content), status, given, PROBLEM_TYPE)


def problem_of(error: KitaruError, *, status: int | None = None) -> Response:
    """Return an exception as an answer.

    Args:
        error: What was raised.
        status: Where the code's own status does not fit.
    """
    found = status or (409 if _is_about_the_record(error) else STATUSES.get(error.code, 500))
    return problem(found, str(error), code=error.code, more=attributes_of(error))


def _is_about_the_record(error: KitaruError) -> bool:
    """Return whether a database works, and has refused what it was given: asking again is of no use.

    The names are those that PEP 249 gives to every driver's classes.
    """
    names = {cls.__name__ for cls in type(error.__cause__).__mro__}
    return not names.isdisjoint({"IntegrityError", "DataError"})


def install_handlers(app: FastAPI) -> None:
    """Have every exception of `app` answered as a problem."""
    app.add_exception_handler(KitaruError, answer_kitaru_error)
    app.add_exception_handler(Refusal, answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(Exception, _answer_anything)


async def answer_kitaru_error(request: Request, error: Exception) -> Response:
    """Return an exception of ours as an answer, and note in the log what an operator has to know."""
    assert isinstance(error, KitaruError)  # noqa: S101 - for the type checker; it is registered for these
    if error.code == "backend":
        _log.warning("%s %s: %s", request.method, request.url.path, error)
    return problem_of(error)


async def _answer_validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    found = [
        {"at": ".".join(map(str, entry["loc"])), "problem": entry["msg"]}
        for entry in error.errors()
    ]
    said = "; ".join(f"{entry['at']}: {entry['problem']}" for entry in found)
    is_malformed = any(entry["type"] == "json_invalid" for entry in error.errors())
    status = 400 if is_malformed else 422
    return problem(
        status, f"the request is not acceptable: {said}", code="usage", more={"errors": found}
    )


async def answer_refusal(_: Request, error: Exception) -> Response:
    """Return as an answer why a request was not even begun."""
    assert isinstance(error, Refusal)  # noqa: S101 - as above
    return problem(
        error.status_code, error.detail, code=error.code, more=error.more, headers=error.headers
    )


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    code = _CODES.get(error.status_code, "usage" if error.status_code < 500 else "backend")
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {request.url.path!r} on this server."
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router names the methods of the first route only that has the path.
        headers = {**(headers or {}), "Allow": ", ".join(_allowed(request))}
        detail = f"{request.method} is not what {request.url.path!r} takes."
    return problem(error.status_code, detail, code=code, headers=headers)


def _allowed(request: Request) -> list[str]:
    return [
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        for scope in [{**request.scope, "method": method}]
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    ]


async def _answer_anything(request: Request, error: Exception) -> Response:
    # What went wrong is the server's business and stands in its log; a traceback may hold secrets.
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(
        500,
        f"the server failed at {request.method} {request.url.path!r}; its log says why.",
        code="runtime",
    )
