"""Answers as servers and proxies send them, whole and broken, read from a connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from kitaru.access import ServerAccess
from kitaru.errors import KitaruUsageError
from kitaru.wire.connection import ServerConnection
from kitaru.wire.exchange import BrokenAnswerError, Reader, request_head

OK = b"HTTP/1.1 200 OK\r\n"
DRIP_SECONDS = 0.02


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(10)
        yield near, far


def read(
    ends: tuple[socket.socket, socket.socket], *pieces: bytes, is_head: bool = False
) -> tuple[int, bytes, bool]:
    """Return status, body and whether the connection may be used again."""
    near, far = ends
    for piece in pieces:
        far.sendall(piece)
    far.shutdown(socket.SHUT_WR)
    reader = Reader(near, 10.0)
    status, _, body = reader.read(is_head=is_head)
    return status, body, reader.is_reusable


@pytest.mark.parametrize(
    ("answer", "body", "is_reusable"),
    [
        (OK + b"Content-Length: 3\r\n\r\nabc", b"abc", True),
        (OK + b"content-length:0\r\n\r\n", b"", True),
        (OK + b"Content-Length: 3\r\nConnection: Close\r\n\r\nabc", b"abc", False),
        (OK + b"Content-Length: 3\r\n\r\nabcd", b"abc", False),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
            b"abc",
            True,
        ),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nTold: late\r\n\r\n", b"", True),
        (OK + b"\r\nabc", b"abc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", b"a", True),
        (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", b"a", True),
    ],
)
def test_answer_is_read_however_its_end_is_told(
    ends: tuple[socket.socket, socket.socket], answer: bytes, body: bytes, is_reusable: bool
) -> None:
    assert read(ends, answer) == (200, body, is_reusable)


def test_answer_without_a_body_ends_with_its_head(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    assert read(ends, OK + b"Content-Length: 9\r\n\r\n", is_head=True) == (200, b"", True)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 hello\r\n\r\n",
        OK,
        OK + b"Content-Length: 3\r\n\r\nab",
        OK + b"Content-Length: -3\r\n\r\nabc",
        OK + b"Content-Length: many\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\nabc\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        OK + b"A: b\r\n" * 20_000,
    ],
)
def test_answer_that_is_none_or_not_whole_is_told_apart(
    ends: tuple[socket.socket, socket.socket], answer: bytes
) -> None:
    with pytest.raises(BrokenAnswerError):
        read(ends, answer)


def test_answer_may_come_in_single_bytes(ends: tuple[socket.socket, socket.socket]) -> None:
    answer = OK + b"Content-Length: 3\r\n\r\nabc"

    assert read(ends, *[bytes([byte]) for byte in answer]) == (200, b"abc", True)


def test_request_says_how_long_its_body_is() -> None:
    assert request_head("POST", "/a", {"Host": "h"}, 0) == (
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
    )
    assert request_head("GET", "/a", {"Host": "h"}, 0) == b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def test_token_that_would_end_its_line_is_refused() -> None:
    with pytest.raises(KitaruUsageError, match="auth_token") as raised:
        ServerConnection("http://h", ServerAccess(auth_token="sesame\r\nX: y"))

    assert "sesame" not in str(raised.value)


def test_answer_that_drips_is_given_up_though_none_of_its_bytes_is_late(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    is_over = threading.Event()

    def drip() -> None:
        far.sendall(OK + b"Content-Length: 1000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while not is_over.wait(DRIP_SECONDS):
                far.sendall(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with pytest.raises(TimeoutError, match="too slowly"):
            Reader(near, DRIP_SECONDS * 5).read()
    finally:
        is_over.set()
        dripping.join()
