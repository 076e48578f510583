"""A store's methods over HTTP: the way of every runner that has no database of its own.

`POST /store/{operation}` takes the arguments as a JSON object and answers what the method returns. It is the
path of each checkpoint, so there is little on it: no models, no dependencies, one decoding, one encoding.

How often a request is done, however often it comes:

* What reads is done each time.
* A `commit` of one write joins those of other clients in one transaction. It may come again: the store knows
  what it has. One with events, metadata or questions, which would double or undo later ones, is done once.
* What may be done once only has its answer kept under its `Idempotency-Key`. The answer begins with a hash of
  the request: a key that comes with another request is refused, and not answered with what was never asked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from kitaru._version import __version__
from kitaru.model import Committed, NewExecution, Write
from kitaru.server.headers import header
from kitaru.server.refusal import Refusal
from kitaru.server.serving import Serving
from kitaru.store.contract.serving import BoundStore, ServedStore
from kitaru.store.operations import OPERATIONS, Kind, Operation, unwrap_writes
from kitaru.wire.versions import KEY_HEADER

router = APIRouter()

_COMMIT = OPERATIONS["commit"]
# A lease must not be lost because others keep all threads waiting.
_RENEWAL = OPERATIONS["renew_leases"]
_JSON = "application/json"
_KEY = KEY_HEADER.lower().encode()

# Decoding more than this would keep the event loop from everybody else.
_MOST_AT_ONCE = 128 * 1024
_LONGEST_KEY = 200
_HASH_BYTES = 32


async def perform(request: Request) -> Response:
    """Do what a request asks of the store, and return what the method has returned."""
    serving = Serving.of(request)
    name: str = request.path_params["operation"]
    operation = OPERATIONS.get(name)
    if operation is None:
        detail = (
            f"this server (Kitaru {__version__}) has no operation {name!r} of a store. If the client"
            f" is newer, upgrade the server."
        )
        raise Refusal(404, detail, code="feature_not_available")
    _check_type(request)
    key = "" if operation.kind is Kind.READ else _key_of(request)
    body = await request.body()
    if operation is _COMMIT:
        answer = await _commit(serving, key, body)
    else:
        calls = serving.urgent_calls if operation is _RENEWAL else serving.calls
        answer = await calls.run(_do, serving.store, operation, key, body)
    return Response(answer, media_type=_JSON)


async def _commit(serving: Serving, key: str, body: bytes) -> bytes:
    if len(body) > _MOST_AT_ONCE:
        arguments = await serving.calls.run(_decode, _COMMIT, body)
    else:
        arguments = _decode(_COMMIT, body)
    writes = unwrap_writes(arguments["writes"])
    if any(map(_is_changed_by_time, writes)):
        return await serving.calls.run(_commit_once, serving.store, key, body, writes)
    if len(writes) == 1:
        committed = [await _join(serving, writes[0])]
    else:
        committed = await serving.calls.run(serving.store.commit, writes)
    return _COMMIT.encode_answer(committed)


def _is_changed_by_time(write: Write) -> bool:
    """Return whether a request that comes again, late, could undo what was written after it.

    It may have been held up in another server. Events would double; metadata and questions replace what is
    there. Journal rows and ends do not.
    """
    return not isinstance(write, NewExecution) and bool(
        write.events or write.metadata or write.waits
    )


async def _join(serving: Serving, write: Write) -> Committed:
    """Commit a write together with what other clients commit at the same time."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Committed] = loop.create_future()

    def settle(outcome: Committed | BaseException) -> None:
        if future.done():  # whoever asked has gone
            return
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def done(outcome: Committed | BaseException) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, outcome)

    serving.writer.submit(write, done)
    return await future


def _commit_once(store: ServedStore, key: str, body: bytes, writes: Sequence[Write]) -> bytes:
    return _once(
        store, _COMMIT, key, body, lambda bound: _COMMIT.encode_answer(bound.commit(writes))
    )


def _do(store: ServedStore, operation: Operation, key: str, body: bytes) -> bytes:
    arguments = _decode(operation, body)
    if operation.kind is Kind.ONCE:
        return _once(store, operation, key, body, lambda bound: _call(bound, operation, arguments))
    return _call(store, operation, arguments)


def _call(store: object, operation: Operation, arguments: dict[str, Any]) -> bytes:
    return operation.encode_answer(getattr(store, operation.name)(**arguments))


def _once(
    store: ServedStore,
    operation: Operation,
    key: str,
    body: bytes,
    work: Callable[[BoundStore], bytes],
) -> bytes:
    asked = hashlib.sha256(operation.name.encode() + b"\0" + body).digest()

    def answer(bound: BoundStore) -> bytes:
        return asked + work(bound)

    kept, _ = store.perform_once(f"store:{key}", answer)
    if kept[:_HASH_BYTES] != asked:
        detail = (
            f"the `{KEY_HEADER}` {key!r} was used before, for another request. Nothing was done; each request"
            f" needs a key of its own."
        )
        raise Refusal(422, detail)
    return kept[_HASH_BYTES:]


def _decode(operation: Operation, body: bytes) -> dict[str, Any]:
    try:
        return operation.decode_request(body)
    except msgspec.ValidationError as error:
        detail = f"the arguments of {operation.name!r} are not acceptable: {error}."
        raise Refusal(422, detail) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        detail = f"the body of {operation.name!r} is no JSON: {error}."
        raise Refusal(400, detail) from error
    except RecursionError as error:
        detail = f"the body of {operation.name!r} is nested too deeply."
        raise Refusal(400, detail) from error


def _check_type(request: Request) -> None:
    given = header(request.scope, b"content-type") or ""
    if given.partition(";")[0].strip().lower() != _JSON:
        detail = f"expected a body of type {_JSON!r}, got: {given!r}"
        raise Refusal(415, detail)


def _key_of(request: Request) -> str:
    key = header(request.scope, _KEY) or ""
    if not 0 < len(key) <= _LONGEST_KEY:
        detail = (
            f"expected a header `{KEY_HEADER}` of 1 to {_LONGEST_KEY} characters, as of every request that"
            f" writes; the same one when the same request is sent again. Got: {key[:_LONGEST_KEY]!r}"
        )
        raise Refusal(400, detail)
    return key


async def _tell_time(request: Request) -> Response:
    serving = Serving.of(request)
    now = await serving.calls.run(serving.time.ask)
    return Response(msgspec.json.encode({"now": now}), media_type=_JSON)


async def _tell_changes(request: Request) -> Response:
    serving = Serving.of(request)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(serving.bell.listen(), media_type="text/event-stream", headers=headers)


router.add_route("/store/{operation}", perform, methods=["POST"], include_in_schema=False)
router.add_route("/clock", _tell_time, methods=["GET"], include_in_schema=False)
router.add_route("/changes", _tell_changes, methods=["GET"], include_in_schema=False)
