"""A TCP relay between a client and a server on loopback, which a test cuts, breaks and deafens at will."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

CHUNK = 65536


class Relay:
    """Forwards every connection to one address, or to the next of several in turn.

    Args:
        targets: Ports of loopback.

    Attributes:
        answers: Called with each piece that a server sends before it is passed on; if it returns False, the
            connection is broken instead, and the piece lost.
        requests: The same for what clients send.
        refusals: How many connections were reset because none was to be made, or could be.
    """

    def __init__(self, *targets: int) -> None:
        self.targets = list(targets)
        self.answers: Callable[[bytes], bool] = lambda _: True
        self.requests: Callable[[bytes], bool] = lambda _: True
        self.refusals = 0
        self._turn = 0
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._threads: list[threading.Thread] = []
        self._is_open = threading.Event()
        self._is_open.set()
        self._is_refusing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._accepting = self._run(self._accept)

    def break_all(self) -> None:
        """Reset every connection that stands; others may be made at once."""
        for pair in list(self._pairs):
            self._break(pair)

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Reset every connection, and each that is made in this block."""
        self._is_refusing = True
        self.break_all()
        try:
            yield
        finally:
            self._is_refusing = False

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Pass nothing on in this block, and tell nobody, as a cut cable does."""
        self._is_open.clear()
        try:
            yield
        finally:
            self._is_open.set()

    def close(self) -> None:
        """End everything."""
        self._is_open.set()
        # A thread that accepts is woken by a shutdown, not by a close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        self.break_all()
        for thread in self._threads:
            thread.join()

    def _run(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name="relay", daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = None if self._is_refusing else self._connect()
            if server is None:
                self.refusals += 1
                _reset(client)
                continue
            pair = (client, server)
            self._pairs.add(pair)
            self._threads += [
                self._run(lambda pair=pair: self._pump(pair, 0, 1)),
                self._run(lambda pair=pair: self._pump(pair, 1, 0)),
            ]

    def _connect(self) -> socket.socket | None:
        for _ in self.targets:
            with self._lock:
                target = self.targets[self._turn % len(self.targets)]
                self._turn += 1
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", target))
        return None

    def _pump(self, pair: tuple[socket.socket, socket.socket], source: int, sink: int) -> None:
        while True:
            try:
                data = pair[source].recv(CHUNK)
                self._is_open.wait()
                passes = self.requests if source == 0 else self.answers
                if not data or not passes(data):
                    return self._break(pair)
                pair[sink].sendall(data)
            except OSError:
                return self._break(pair)

    def _break(self, pair: tuple[socket.socket, socket.socket]) -> None:
        self._pairs.discard(pair)
        for end in pair:
            _reset(end)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextlib.contextmanager
def relay(*targets: int) -> Iterator[Relay]:
    """Give a relay that is closed afterwards."""
    made = Relay(*targets)
    try:
        yield made
    finally:
        made.close()
