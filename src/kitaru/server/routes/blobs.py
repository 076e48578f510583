"""Large values over HTTP: bytes under their digest.

`PUT /blobs/{digest}` writes what comes in beside the blobs first and looks at its digest, so that nobody
ever sees a part of it, or what is not what it says. `GET` sends a file as it lies there; whoever asked
checks the digest. Neither keeps a value in memory.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import tempfile
from collections.abc import AsyncGenerator
from itertools import islice
from typing import IO, BinaryIO

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from kitaru.blobs.contract import ServedBlobs
from kitaru.errors import KitaruBackendError
from kitaru.server.calls import Calls
from kitaru.server.problems import problem_of
from kitaru.server.refusal import Refusal
from kitaru.server.serving import Serving

router = APIRouter()

MOST_BYTES = 8 * 1024 * 1024 * 1024
"""How large one value may be."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PIECE_BYTES = 256 * 1024
_IN_MEMORY_BYTES = 4 * 1024 * 1024
_MOST_LISTED = 10_000
_LARGEST_MOMENT = 2**62


async def _put(request: Request) -> Response:
    serving, digest = Serving.of(request), _digest_of(request)
    hashed = hashlib.sha256()
    # One that fits into memory stays there. Files are written by threads, a piece at a time.
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
        async for piece in request.stream():
            hashed.update(piece)
            if spool.tell() + len(piece) > _IN_MEMORY_BYTES:
                await serving.calls.run(spool.write, piece)
            else:
                spool.write(piece)
        if hashed.hexdigest() != digest:
            detail = (
                f"the bytes that came for the blob {digest!r} have the digest {hashed.hexdigest()!r}."
                f" Nothing was kept; send them again."
            )
            raise Refusal(422, detail)
        await serving.calls.run(_keep, serving.blobs, spool)
    return Response(status_code=204)


def _keep(blobs: ServedBlobs, spool: tempfile.SpooledTemporaryFile[bytes]) -> None:
    size = spool.tell()
    if size <= _IN_MEMORY_BYTES:
        spool.seek(0)
        blobs.put(spool.read())
        return
    spool.flush()
    with (
        mmap.mmap(spool.fileno(), size, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        blobs.put(data)


async def _get(request: Request) -> Response:
    serving, digest = Serving.of(request), _digest_of(request)
    try:
        size = await serving.calls.run(serving.blobs.size, digest)
        if request.method == "HEAD":
            return Response(headers={"Content-Length": str(size)})
        file = await serving.calls.run(serving.blobs.open, digest)
    except KitaruBackendError as error:
        if await serving.calls.run(serving.blobs.has, digest):
            raise
        return problem_of(error, status=404)
    return StreamingResponse(
        _pieces(serving.calls, file),
        headers={"Content-Length": str(size)},
        media_type="application/octet-stream",
    )


async def _pieces(calls: Calls, file: IO[bytes] | BinaryIO) -> AsyncGenerator[bytes]:
    with file:
        while piece := await calls.run(file.read, _PIECE_BYTES):
            yield piece


async def _delete(request: Request) -> Response:
    """Remove a blob; with `before`, unless it was put then or later."""
    serving, digest = Serving.of(request), _digest_of(request)
    if "before" in request.query_params:
        before = _moment_of(request)
        gone = await serving.calls.run(serving.blobs.delete_if_stale, digest, before=before)
    else:
        await serving.calls.run(serving.blobs.delete, digest)
        gone = True
    return _json({"gone": gone})


async def _renew(request: Request) -> Response:
    serving = Serving.of(request)
    return _json({"renewed": await serving.calls.run(serving.blobs.renew, _digest_of(request))})


async def _clear(request: Request) -> Response:
    serving = Serving.of(request)
    before = _moment_of(request)
    return _json({"cleared": await serving.calls.run(serving.blobs.clear_abandoned, before=before)})


async def _list(request: Request) -> Response:
    serving = Serving.of(request)
    after = request.query_params.get("after", "")
    if after and not _DIGEST.fullmatch(after):
        detail = f"expected `after` to be a digest, got: {after!r}"
        raise Refusal(422, detail)
    page = await serving.calls.run(
        lambda: list(islice(serving.blobs.list_blobs(after=after), _MOST_LISTED))
    )
    following = page[-1].digest if len(page) == _MOST_LISTED else None
    return _json({"blobs": page, "after": following})


def _digest_of(request: Request) -> str:
    digest: str = request.path_params["digest"]
    if not _DIGEST.fullmatch(digest):
        detail = f"expected a SHA-256 digest of 64 hexadecimal digits, got: {digest!r}"
        raise Refusal(422, detail)
    return digest


def _moment_of(request: Request) -> int:
    text = request.query_params.get("before", "")
    if not (text.isascii() and text.isdecimal() and int(text) < _LARGEST_MOMENT):
        detail = f"expected `before` to be a moment in microseconds, got: {text!r}"
        raise Refusal(422, detail)
    return int(text)


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _add(path: str, endpoint: object, method: str) -> None:
    router.add_route(path, endpoint, methods=[method], include_in_schema=False)  # pyright: ignore[reportArgumentType] - each is one of the above


_add("/blobs", _list, "GET")
_add("/blobs/abandoned", _clear, "DELETE")
_add("/blobs/{digest}", _put, "PUT")
_add("/blobs/{digest}", _get, "GET")  # and HEAD
_add("/blobs/{digest}", _delete, "DELETE")
_add("/blobs/{digest}/renewal", _renew, "POST")
