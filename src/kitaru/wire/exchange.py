"""One request and its answer on an open connection, in HTTP/1.1.

The standard library's client parses headers as if they were an e-mail's and sends a request in two pieces,
which costs more than encoding, sending and committing a checkpoint together. A server of Kitaru's, and every
proxy that may stand before it, answers in one of three ways: with a length, in chunks, or until the end of
the connection.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time

_PIECE_BYTES = 256 * 1024
_MOST_HEAD_BYTES = 64 * 1024
# What a server waits for, too (`server/limits.py`): less is no network, but somebody who holds a client.
_SLOWEST_BYTES_PER_SECOND = 16 * 1024
_LENGTH = re.compile(r"[0-9A-Fa-f]{1,16}", re.ASCII)
_BODILESS = frozenset({204, 304})


class BrokenAnswerError(ConnectionError):
    """An answer is not HTTP, or ended in the middle."""


def request_head(method: str, path: str, headers: dict[str, str], length: int) -> bytes:
    """Return what comes before a request's body.

    Args:
        method: Such as `POST`.
        path: With its query; it must not hold a blank or a line's end.
        headers: All but the body's length.
        length: Of the body.
    """
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length or method not in ("GET", "HEAD", "DELETE"):
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


def send(sock: socket.socket, head: bytes, body: bytes | memoryview) -> None:
    """Send a request: in one piece if it is small, so that the other side wakes once."""
    if len(body) <= _PIECE_BYTES:
        sock.sendall(head + body)
    else:
        sock.sendall(head)
        sock.sendall(body)


class Reader:
    """Reads one answer.

    Args:
        sock: Where it comes from.
        seconds: How long it may take from its first byte on, and longer the more bytes it has.

    Attributes:
        is_reusable: Whether another request may be sent when this answer has been read.
    """

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds
        self._began: float | None = None
        self._received = 0
        self._buffer = bytearray()
        self.is_reusable = False

    def read(self, *, is_head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers by their names in lower case, and body.

        Args:
            is_head: Whether it is asked for without its body.

        Raises:
            BrokenAnswerError: It is no answer, or not a whole one.
            TimeoutError: It came too slowly.
            OSError: The connection broke.
        """
        version, status, headers = self._read_head()
        while 100 <= status < 200:
            version, status, headers = self._read_head()
        says = headers.get("connection", "").lower()
        self.is_reusable = version == b"HTTP/1.1" and says != "close"
        if is_head or status in _BODILESS:
            body = b""
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            body = self._read_chunks()
        elif (length := headers.get("content-length")) is not None:
            body = self._take(_whole(length))
        else:
            self.is_reusable = False
            body = self._read_to_the_end()
        if self._buffer:
            # Something that nobody has asked for.
            self.is_reusable = False
        return status, headers, body

    def _read_head(self) -> tuple[bytes, int, dict[str, str]]:
        end = self._find(b"\r\n\r\n")
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        first, *lines = head.split(b"\r\n")
        version, _, rest = first.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            message = f"the answer is not HTTP/1.1: it begins with {first[:40]!r}"
            raise BrokenAnswerError(message)
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            name, value = name.strip().lower(), value.strip()
            if name == "content-length" and headers.get(name, value) != value:
                message = "the answer has two lengths"
                raise BrokenAnswerError(message)
            headers[name] = value
        return version, int(rest[:3]), headers

    def _read_chunks(self) -> bytes:
        chunks: list[bytes] = []
        while True:
            end = self._find(b"\r\n")
            size = _whole(self._buffer[:end].partition(b";")[0].decode("latin-1"), 16)
            del self._buffer[: end + 2]
            if size == 0:
                break
            chunks.append(self._take(size))
            if self._take(2) != b"\r\n":
                message = "a chunk of the answer has another length than it says"
                raise BrokenAnswerError(message)
        while (end := self._find(b"\r\n")) > 0:  # what comes after the last chunk is of no use here
            del self._buffer[: end + 2]
        del self._buffer[:2]
        return b"".join(chunks)

    def _read_to_the_end(self) -> bytes:
        while self._receive():
            pass
        body = bytes(self._buffer)
        self._buffer.clear()
        return body

    def _find(self, mark: bytes) -> int:
        looked = 0
        while (at := self._buffer.find(mark, max(0, looked - len(mark)))) < 0:
            looked = len(self._buffer)
            if looked > _MOST_HEAD_BYTES:
                message = f"the answer has more than {_MOST_HEAD_BYTES} bytes before its body"
                raise BrokenAnswerError(message)
            if not self._receive():
                message = "the connection ended before the answer was complete"
                raise BrokenAnswerError(message)
        return at

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._receive():
                message = (
                    f"the connection ended {size - len(self._buffer)} bytes before the answer did"
                )
                raise BrokenAnswerError(message)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _receive(self) -> bool:
        piece = self._sock.recv(_PIECE_BYTES)
        self._buffer += piece
        self._received += len(piece)
        now = time.monotonic()
        if self._began is None:
            self._began = now
        # A socket's own timeout begins anew with every byte.
        allowed = self._seconds + self._received / _SLOWEST_BYTES_PER_SECOND
        if piece and now - self._began > allowed:
            message = f"the answer came too slowly: {self._received} bytes in {allowed:.0f} s"
            raise TimeoutError(message)
        return bool(piece)


def _whole(text: str, base: int = 10) -> int:
    # `int` takes signs and underscores, too, and another party on the way would not.
    if _LENGTH.fullmatch(text.strip()):
        with contextlib.suppress(ValueError):
            return int(text.strip(), base)
    message = f"the answer has a length that is none: {text[:40]!r}"
    raise BrokenAnswerError(message)
