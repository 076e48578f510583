"""Blobs behind a server, by their digest. The methods are specified in `contract.py`.

Putting and getting belong to a run, and are tried for as long as its records are. What comes is checked
against its digest here, whatever the server and the network have made of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from kitaru.access import NO_ACCESS, ServerAccess
from kitaru.blobs.contract import BlobEntry
from kitaru.errors import KitaruBackendError, KitaruUsageError
from kitaru.wire.connection import Answer, Patience, ServerConnection

T = TypeVar("T")

_PATH = "/api/v1/blobs"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MISSING = 404

_RUNS_SECONDS = 90.0
_OTHERS_SECONDS = 10.0
# A page of a collection, or all that was abandoned.
_LONG_TRY_SECONDS = 120.0


class _Page(msgspec.Struct):
    blobs: list[BlobEntry]
    after: str | None


class HttpBlobs:
    """Blobs behind a server.

    Args:
        url: The server's.
        access: Who asks, and how the server proves its name.
        runs_seconds: For how long what runs put and get is tried.
        others_seconds: For how long everything else is.
    """

    def __init__(
        self,
        url: str,
        *,
        access: ServerAccess = NO_ACCESS,
        runs_seconds: float = _RUNS_SECONDS,
        others_seconds: float = _OTHERS_SECONDS,
    ) -> None:
        self._server = ServerConnection(url, access)
        self._runs = Patience(runs_seconds)
        self._others = Patience(others_seconds)
        self._long = Patience(others_seconds, max(_LONG_TRY_SECONDS, access.timeout_seconds))

    @property
    def url(self) -> str:
        return self._server.url

    def put(self, data: bytes | memoryview) -> str:
        digest = hashlib.sha256(data).hexdigest()
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._server.ask(
            "PUT", _path(digest), data, headers=headers, patience=self._runs, what="keep a blob"
        )
        self._server.raise_for_problem(answer)
        return digest

    def get(self, digest: str) -> bytes:
        answer = self._server.ask("GET", _path(digest), patience=self._runs, what="send a blob")
        if answer.status == _MISSING:
            raise self._missing(digest)
        self._server.raise_for_problem(answer)
        if hashlib.sha256(answer.body).hexdigest() != digest:
            message = (
                f"the blob {digest!r} is damaged: the server {self.url!r} sent {len(answer.body)} bytes that"
                f" do not match their digest. Restore it on the server from a backup."
            )
            raise KitaruBackendError(message)
        return answer.body

    def has(self, digest: str) -> bool:
        return self._look(digest).status != _MISSING

    def size(self, digest: str) -> int:
        answer = self._look(digest)
        if answer.status == _MISSING:
            raise self._missing(digest)
        return int(answer.headers["content-length"])

    def delete(self, digest: str) -> None:
        self._ask("DELETE", _path(digest), what="delete a blob")

    def renew(self, digest: str) -> bool:
        found = self._ask("POST", _path(digest) + "/renewal", self._runs, what="renew a blob")
        return bool(found["renewed"])

    def list_blobs(self, *, after: str = "") -> Iterator[BlobEntry]:
        following: str | None = after
        while following is not None:
            answer = self._server.ask(
                "GET", f"{_PATH}?after={following}", patience=self._long, what="list blobs"
            )
            self._server.raise_for_problem(answer)
            page = self._decoded(answer, _Page)
            yield from page.blobs
            following = page.after

    def delete_if_stale(self, digest: str, *, before: int) -> bool:
        path = f"{_path(digest)}?before={max(before, 0)}"
        return bool(self._ask("DELETE", path, what="delete a blob")["gone"])

    def clear_abandoned(self, *, before: int) -> int:
        path = f"{_PATH}/abandoned?before={max(before, 0)}"
        return int(self._ask("DELETE", path, self._long, what="clear abandoned blobs")["cleared"])

    def list_digests(self) -> Iterator[str]:
        for entry in self.list_blobs():
            yield entry.digest

    def _look(self, digest: str) -> Answer:
        answer = self._server.ask("HEAD", _path(digest), patience=self._runs, what="find a blob")
        if answer.status != _MISSING:
            self._server.raise_for_problem(answer)
        return answer

    def _missing(self, digest: str) -> KitaruBackendError:
        return KitaruBackendError(
            f"the blob {digest!r} is missing on the server {self.url!r}. Restore it there from a backup."
        )

    def _ask(
        self, method: str, path: str, patience: Patience | None = None, *, what: str
    ) -> dict[str, int | bool]:
        answer = self._server.ask(method, path, patience=patience or self._others, what=what)
        self._server.raise_for_problem(answer)
        return self._decoded(answer, dict[str, int | bool])

    def _decoded(self, answer: Answer, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except msgspec.DecodeError as error:
            message = (
                f"the server {self.url!r} answered about blobs with what this version does not understand"
                f" ({error}). Check that server and client fit: `kitaru status`."
            )
            raise KitaruBackendError(message) from error


def _path(digest: str) -> str:
    # Digests come from rows; no other text may become a path.
    if not _DIGEST.fullmatch(digest):
        message = f"expected a SHA-256 digest of 64 hexadecimal digits, got: {digest!r}"
        raise KitaruUsageError(message)
    return f"{_PATH}/{digest}"
