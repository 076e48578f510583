"""A network between a client and a server, which a test cuts when it likes.

with Proxy(server.port) as proxy:
    store = HttpStore(proxy.url)
    proxy.lose_answers(1)     # the server does it, nobody hears of it
    proxy.cut()               # connections break, new ones are refused
    proxy.hush()              # connections stand, nothing comes through
    proxy.restore()
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_PIECE = 64 * 1024
# Closing with this sends a reset: what a firewall or a dying machine does, and nothing more is delivered.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections to a port of this machine.

    Attributes:
        requests: How many pieces came from clients, and were to be forwarded.
        lost_answers: How many answers were dropped, with their connections.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._loud = threading.Event()
        self._loud.set()
        self._answers_to_lose = 0
        self._requests_to_lose = 0
        self.requests = 0
        self.lost_answers = 0
        self._listener: socket.socket | None = None
        self._open(0)
        assert self._listener is not None
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def cut(self) -> None:
        """Break all connections and refuse others."""
        listener, self._listener = self._listener, None
        if listener is not None:
            # A thread that is inside `accept` keeps a closed socket listening.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for open_socket in list(self._sockets):
                _reset(open_socket)
            self._sockets.clear()

    def hush(self) -> None:
        """Let nothing through in any direction, and break nothing."""
        self._loud.clear()

    def restore(self) -> None:
        """Let everything through again."""
        self._loud.set()
        if self._listener is None:
            self._open(self.port)

    def lose_answers(self, count: int) -> None:
        """Break the next connections on which the server answers, just before its client hears of it."""
        with self._lock:
            self._answers_to_lose = count

    def lose_requests(self, count: int) -> None:
        """Break the next connections on which a client asks, before the server hears of it."""
        with self._lock:
            self._requests_to_lose = count

    def close(self) -> None:
        """Break everything, and end all threads."""
        self._loud.set()
        self.cut()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _open(self, port: int) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        self._listener = listener
        self._start(self._accept, listener)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # pyright: ignore[reportArgumentType] - one of the methods below
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                _reset(client)
                continue
            for end in (client, upstream):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._listener is not listener:
                    _reset(client)
                    _reset(upstream)
                    return
                self._sockets |= {client, upstream}
            self._start(self._forward, client, upstream, True)
            self._start(self._forward, upstream, client, False)

    def _forward(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        try:
            while piece := source.recv(_PIECE):
                if is_request:
                    self.requests += 1
                self._loud.wait()
                if self._is_to_be_lost(is_request=is_request):
                    break
                sink.sendall(piece)
        except OSError:
            pass
        with self._lock:
            self._sockets -= {source, sink}
        _reset(source)
        _reset(sink)

    def _is_to_be_lost(self, *, is_request: bool) -> bool:
        with self._lock:
            if is_request:
                if self._requests_to_lose:
                    self._requests_to_lose -= 1
                    return True
            elif self._answers_to_lose:
                self._answers_to_lose -= 1
                self.lost_answers += 1
                return True
        return False


def _reset(open_socket: socket.socket) -> None:
    with contextlib.suppress(OSError):
        open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # It wakes the thread that reads it.
        open_socket.shutdown(socket.SHUT_RDWR)
    open_socket.close()
