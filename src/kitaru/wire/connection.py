"""A client's way to one server: requests that ride out a network that fails for a while.

It speaks HTTP itself (`exchange.py`): a checkpoint is a request, and with `httpx` each would cost ten times
the processor time.

* Every request may be sent again. Whatever writes carries an `Idempotency-Key`, which stays the same.
* Connections are kept and shared by all threads; each carries one request at a time.
* A forked child opens connections of its own: two processes on one connection would read each other's
  answers.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from kitaru._version import __version__
from kitaru.access import NO_ACCESS, ServerAccess
from kitaru.errors import KitaruBackendError, KitaruError, KitaruUsageError
from kitaru.faults import fault
from kitaru.forking import forget_in_child
from kitaru.wire.exchange import Reader, request_head, send
from kitaru.wire.problems import PROBLEM_TYPE, rebuild
from kitaru.wire.versions import VERSION_HEADER, WIRE_HEADER, WIRE_VERSION

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

logger = logging.getLogger(__name__)

_PASSING = frozenset({408, 429, 502, 503, 504})
"""What says that the same request may succeed in a moment: a proxy without its server, a database
restarting."""

_CONNECT_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_MOST_IDLE = 64
_OUTAGE_IS_NEWS_SECONDS = 30.0

_WAY_OUT = (
    "What was recorded before is kept. Check that the server runs and that this machine reaches it"
    " (`kitaru status`), then continue with `kitaru executions recover`."
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request is tried.

    Attributes:
        total_seconds: After so long no further try begins; with 0 there is one.
        try_seconds: How long one try may take; None is what the settings say.
    """

    total_seconds: float
    try_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server has said.

    Attributes:
        headers: By their names in lower case.
        tries: How often it was asked; with more than one, an earlier request may have been done.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    tries: int


class ServerConnection:
    """A server's URL, who asks, and open connections. Safe to use from any thread and after a fork.

    Args:
        url: Of the server, such as `https://kitaru.example.com`; a path is put before every path.
        access: Who asks, and how the server proves its name.
    """

    def __init__(self, url: str, access: ServerAccess = NO_ACCESS) -> None:
        self.forget()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            message = (
                f"expected the URL of a server such as 'https://kitaru.example.com', got: {url!r}"
            )
            raise KitaruUsageError(message)
        self._scheme, self._host, self._port = parts.scheme, parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        port = "" if self._port is None else f":{self._port}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{self._scheme}://{host}{port}{self._prefix}"
        self._access = access
        self._headers = {
            "Host": f"{host}{port}",
            "Accept": f"application/json, {PROBLEM_TYPE}",
            VERSION_HEADER: __version__,
            WIRE_HEADER: str(WIRE_VERSION),
        }
        if access.auth_token is not None:
            if not (access.auth_token.isascii() and access.auth_token.isprintable()):
                message = "expected `auth_token` to be printable ASCII; it holds something else"
                raise KitaruUsageError(message)
            self._headers["Authorization"] = f"Bearer {access.auth_token}"
        self._context: ssl.SSLContext | None = None
        # Since when the server has not answered, and when that was last seen; None if it has.
        self._outage: tuple[float, float] | None = None
        self._is_told = False
        forget_in_child(self)

    def forget(self) -> None:
        """Begin without connections, in a forked child: those that are open are its parent's."""
        self._idle: deque[socket.socket] = deque()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that nobody uses; the next request opens one."""
        idle, self._idle = self._idle, deque()
        for sock in idle:
            sock.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | memoryview = b"",
        *,
        headers: Mapping[str, str] | None = None,
        patience: Patience,
        what: str,
        way_out: str = _WAY_OUT,
    ) -> Answer:
        """Return the server's answer, which may be a problem (`raise_for_problem`).

        Args:
            method: Such as `POST`.
            path: Below the server's URL.
            body: Of the request.
            headers: Besides those of every request.
            patience: For how long to try.
            what: What is asked for, for the error.
            way_out: What is left as it was, and what to do, for the error.

        Durability: if this raises, the request may have been done or not.

        Raises:
            KitaruBackendError: The server could not be reached, or is out of order, all that time.
        """
        given = {**self._headers, **(headers or {})}
        head = request_head(method, self._prefix + path, given, len(body))
        seconds = patience.try_seconds or self._access.timeout_seconds
        began = time.monotonic()
        deadline = max(began, self._outage_began(began) + patience.total_seconds)
        pause = _FIRST_PAUSE_SECONDS
        tries = 0
        while True:
            tries += 1
            cause: Exception | None = None
            retry_after = 0.0
            idle = self._take_idle()
            try:
                sock = idle or self._connect(seconds)
                status, found, content = self._exchange(sock, method, head, body, seconds)
            except ssl.SSLCertVerificationError as error:
                raise self._untrusted(error) from error
            except OSError as error:
                if idle is not None and not isinstance(error, TimeoutError):
                    # The server has closed it while it was idle; that says nothing about the server.
                    continue
                cause, trouble = error, _words_of(error)
            else:
                if status not in _PASSING:
                    self._note_return()
                    return Answer(status, found, content, tries)
                trouble = f"it answered {status}: {_detail_of(content)}"
                retry_after = _seconds(found.get("retry-after"))
            wait = max(retry_after, pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients, guards nothing
            if time.monotonic() + wait > deadline:
                self._note_outage(began, trouble, patience)
                often = (
                    "once" if tries == 1 else f"{tries} times in {time.monotonic() - began:.0f} s"
                )
                message = (
                    f"the server {self.url!r} did not do {what!r}; it was asked {often}, the last time"
                    f" {trouble}. {way_out}"
                )
                raise KitaruBackendError(message) from cause
            self._note_outage(began, trouble, patience)
            time.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def open_stream(self, path: str, *, try_seconds: float) -> tuple[HTTPConnection, HTTPResponse]:
        """Return a connection of its own and an answer on it whose body goes on; the caller closes both.

        Args:
            path: Below the server's URL.
            try_seconds: How long the stream may be silent before reading it raises.

        Raises:
            OSError: The server could not be reached.
            http.client.HTTPException: It does not speak HTTP.
        """
        # Imported here: who watches nothing needs no client for streams, which takes 20 ms to load.
        from http.client import HTTPConnection

        connection = HTTPConnection(self._host, self._port)
        connection.sock = self._connect(try_seconds)
        try:
            connection.sock.settimeout(try_seconds)
            headers = {**self._headers, "Accept": "text/event-stream"}
            connection.request("GET", self._prefix + path, headers=headers)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def raise_for_problem(self, answer: Answer) -> None:
        """Raise the exception that an answer stands for, if it is a problem.

        Raises:
            KitaruError: Of the class that the server has raised.
        """
        if answer.status < 300:
            return
        raise self.problem_in(answer.status, answer.headers, answer.body)

    def problem_in(self, status: int, headers: Mapping[str, str], body: bytes) -> KitaruError:
        """Return the exception that an answer stands for, of the class that the server has raised."""
        if headers.get("content-type", "").partition(";")[0] == PROBLEM_TYPE:
            try:
                found = msgspec.json.decode(body, type=dict[str, object])
                return rebuild(str(found["code"]), str(found["detail"]), found, status=status)
            except (msgspec.DecodeError, KeyError):
                pass
        elsewhere = headers.get("location")
        hint = f" It points to {elsewhere!r}; use that URL." if elsewhere else ""
        return KitaruBackendError(
            f"{self.url!r} answered {status} and no word of Kitaru. Check that the URL is a Kitaru server's,"
            f" and that no proxy stands in between.{hint}"
        )

    def _exchange(
        self,
        sock: socket.socket,
        method: str,
        head: bytes,
        body: bytes | memoryview,
        seconds: float,
    ) -> tuple[int, dict[str, str], bytes]:
        reader = Reader(sock, seconds)
        is_read = False
        try:
            sock.settimeout(seconds)
            # If it closes before it has read all, it may have said why: the body is too large, say.
            with suppress(BrokenPipeError, ConnectionResetError):
                send(sock, head, body)
            fault("request.sent")
            answer = reader.read(is_head=method == "HEAD")
            is_read = True
            return answer
        finally:
            if is_read and reader.is_reusable and len(self._idle) < _MOST_IDLE:
                self._idle.append(sock)
            else:
                sock.close()

    def _take_idle(self) -> socket.socket | None:
        while True:
            try:
                sock = self._idle.pop()
            except IndexError:
                return None
            # Nothing is to be read from one that is idle, except its end.
            if not _is_readable(sock):
                return sock
            sock.close()

    def _connect(self, seconds: float) -> socket.socket:
        context = self._tls() if self._scheme == "https" else None
        port = self._port or (80 if context is None else 443)
        sock = socket.create_connection((self._host, port), min(seconds, _CONNECT_SECONDS))
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                sock = context.wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise
        return sock

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            cafile = self._access.ssl_ca_cert
            try:
                context = ssl.create_default_context(cafile=None if cafile is None else str(cafile))
            except OSError as error:
                message = f"the certificates in {str(cafile)!r} cannot be read: {error}."
                raise KitaruUsageError(message) from error
            if not self._access.verify_ssl:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._context = context
        return self._context

    def _outage_began(self, now: float) -> float:
        """Return since when the server has been out of reach, as far as is known: now, if it is not.

        Whoever comes late in an outage does not wait for as long as the first one did: a hundred records
        that are tried one after the other would take hours to fail.
        """
        outage = self._outage
        return now if outage is None or now - outage[1] > _OUTAGE_IS_NEWS_SECONDS else outage[0]

    def _note_outage(self, began: float, trouble: str, patience: Patience) -> None:
        self._outage = (self._outage_began(began), time.monotonic())
        if patience.total_seconds > 0 and not self._is_told:
            self._is_told = True
            logger.warning(
                "the server %r is asked again for up to %g s: %s",
                self.url,
                patience.total_seconds,
                trouble,
            )

    def _note_return(self) -> None:
        self._outage = None
        if self._is_told:
            self._is_told = False
            logger.info("the server %r answers again", self.url)

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> KitaruBackendError:
        return KitaruBackendError(
            f"the server {self.url!r} could not prove its name: {error.verify_message}. Trust its"
            f" certificate with the setting `ssl_ca_cert`, or check that the URL is right."
        )


def _words_of(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, socket.gaierror):
        return "its name is not known here"
    if isinstance(error, ConnectionError):
        return "the connection broke"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "it did not speak TLS, so that its URL may begin with `http://`"
    return str(error) or type(error).__name__


def _detail_of(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body, type=dict[str, object])["detail"]).rstrip(".")
    except (msgspec.DecodeError, KeyError):
        return "nothing that Kitaru says"


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isascii() and text.isdecimal() else 0.0


def _is_readable(sock: socket.socket) -> bool:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])  # pragma: no cover - Windows
