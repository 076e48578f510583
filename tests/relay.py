"""A network between clients and servers on loopback, which a test cuts, breaks and deafens at will.

with Relay(server.port) as relay:
    store = HttpStore(relay.url)
    relay.lose_answers(1)     # the server does it, nobody hears of it
    relay.cut()               # connections break, nobody listens
    relay.hush()              # connections stand, nothing comes through, as with a cable that is pulled
    relay.restore()
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

_PIECE = 64 * 1024
# Closing with this sends a reset: what a firewall or a dying machine does, and nothing more is delivered.
_RESET = struct.pack("ii", 1, 0)

Filter = Callable[[bytes], bool]


class Relay:
    """Forwards every connection to one port of this machine, or to the next of several in turn.

    Args:
        targets: The ports.

    Attributes:
        port: Where it listens.
        url: The same, for HTTP.
        requests: Called with each piece that a client sends before it is passed on; if it returns False, the
            connection is broken instead, and the piece lost.
        answers: The same for what servers send.
        asked: How many pieces came from clients, and were to be forwarded.
        lost_answers: How many answers were lost that `lose_answers` was to lose.
        refusals: How many connections were reset at once because none was to be made, or could be.
    """

    def __init__(self, *targets: int) -> None:
        self.targets = list(targets)
        self.requests: Filter = lambda _: True
        self.answers: Filter = lambda _: True
        self.asked = 0
        self.lost_answers = 0
        self.refusals = 0
        self._turn = 0
        self._lock = threading.Lock()
        self._open_sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._loud = threading.Event()
        self._loud.set()
        self._is_refusing = False
        self._answers_to_lose = 0
        self._requests_to_lose = 0
        self._listener: socket.socket | None = None
        self.port = self._listen(0)
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

    def break_all(self) -> None:
        """Reset every connection that stands; others may be made at once."""
        with self._lock:
            standing = list(self._open_sockets)
            self._open_sockets.clear()
        for open_socket in standing:
            _reset(open_socket)

    def cut(self) -> None:
        """Break all connections and listen no more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            # A thread that is inside `accept` keeps a closed socket listening, and is woken by a shutdown.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.break_all()

    def hush(self) -> None:
        """Let nothing through in any direction, and break nothing."""
        self._loud.clear()

    def restore(self) -> None:
        """Let everything through again."""
        self._loud.set()
        if self._listener is None:
            self._listen(self.port)

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Reset every connection, and each that is made in this block."""
        self._is_refusing = True
        self.break_all()
        try:
            yield
        finally:
            self._is_refusing = False

    def lose_answers(self, count: int) -> None:
        """Break the next connections on which the server answers, just before its client hears of it."""
        with self._lock:
            self._answers_to_lose = count

    def lose_requests(self, count: int) -> None:
        """Break the next connections on which a client asks, before the server hears of it."""
        with self._lock:
            self._requests_to_lose = count

    def close(self) -> None:
        """End everything."""
        self._loud.set()
        self.cut()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _listen(self, port: int) -> int:
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self._listener = listener
        self._start(lambda: self._accept(listener))
        found: int = listener.getsockname()[1]
        return found

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="relay", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = None if self._is_refusing else self._connect()
            if server is None:
                self.refusals += 1
                _reset(client)
                continue
            with self._lock:
                is_cut = self._listener is not listener
                if not is_cut:
                    self._open_sockets |= {client, server}
            if is_cut:
                _reset(client)
                _reset(server)
                return
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(lambda ends=(client, server): self._forward(*ends, is_request=True))
            self._start(lambda ends=(server, client): self._forward(*ends, is_request=False))

    def _connect(self) -> socket.socket | None:
        for _ in self.targets:
            with self._lock:
                target = self.targets[self._turn % len(self.targets)]
                self._turn += 1
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", target))
        return None

    def _forward(self, source: socket.socket, sink: socket.socket, *, is_request: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                self.asked += is_request
                self._loud.wait()
                passes = self.requests if is_request else self.answers
                if self._is_to_be_lost(is_request=is_request) or not passes(piece):
                    break
                sink.sendall(piece)
        with self._lock:
            self._open_sockets -= {source, sink}
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
