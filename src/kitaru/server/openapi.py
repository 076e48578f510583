"""The OpenAPI document: what FastAPI makes of the routes, and what it cannot know.

The routes for runners (`/store/…`, `/blobs/…`, `/changes`, `/clock`) are left out on purpose: they are the
contract of `kitaru.store` over HTTP, change with its version, and are no place for anyone else.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from kitaru.wire.problems import PROBLEM_TYPE

Shape = dict[str, Any]

_ABOUT = """\
Executions of durable flows: look them up, answer what they ask, act on them.

* Ids of executions may be shortened, as long as no other one begins so.
* Lists come in pages: give `next` as `after`.
* Errors are `application/problem+json`, with a stable `code`.
* A `POST` with an `Idempotency-Key` is done once, however often it is sent.
* What makes an execution go on makes it pending; a worker takes it up, or an attendant has a process started.
  A replay is not offered here: it begins with the flow's code, which a server does not have. Use
  `kitaru executions replay`, or `kitaru.connect(…)` and `flow.replay(…)`, where the code is.
"""
_JSON = "application/json"
_METHODS = frozenset({"get", "post", "put", "delete", "patch"})
_OPEN_PATHS = frozenset({"/healthz", "/readyz"})


def describe_app(app: FastAPI) -> None:
    """Complete the document that an application gives of itself."""
    make = app.openapi
    app.description = _ABOUT

    def complete() -> Shape:
        if app.openapi_schema is None:
            document = make()
            _complete(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = complete


def _complete(document: Shape) -> None:
    document["components"].setdefault("securitySchemes", {})["token"] = {
        "type": "http",
        "scheme": "bearer",
        "description": "The server's `auth_token`; a server that has none lets everybody in.",
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in _METHODS:
                continue
            if path not in _OPEN_PATHS:
                operation["security"] = [{"token": []}, {}]
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if int(status) >= 400 and _JSON in content:
                    content[PROBLEM_TYPE] = content.pop(_JSON)
