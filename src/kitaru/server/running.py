"""The server as a process, or as a thread beside an attendant: its socket, its start, its end.

Asked to stop, it takes no more connections, lets live streams go at once, finishes the requests that it has,
and ends the duties of its attendants. What it was in the middle of is found by whoever comes next: there is
nothing that a server alone knows.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import socket
import threading
from collections.abc import Callable, Generator, Sequence

import uvicorn
from fastapi import FastAPI

from kitaru.attendant import Attendant, Expiry, Pruner, Reaper, Timers
from kitaru.blobs import open_blobs
from kitaru.errors import KitaruBackendError, KitaruUsageError
from kitaru.server.app import create_app
from kitaru.server.serving import Serving
from kitaru.server.visitors import is_loopback
from kitaru.settings import Settings
from kitaru.store import open_store
from kitaru.store.contract import Store
from kitaru.store.contract.serving import ServedStore

DEFAULT_PORT = 8422
LOOPBACK = "127.0.0.1"

# What is under way when the server is asked to stop has so long to end.
_DRAIN_SECONDS = 10
# Longer than what load balancers keep a connection for that nobody uses; they would send into a closed one.
_KEEP_ALIVE_SECONDS = 75
_PRUNE_DELAY_SECONDS = 5.0
_START_SECONDS = 30.0
# A request leaves so many objects that the usual seven hundred are counted through several times in each.
_COLLECTOR_THRESHOLDS = (20_000, 20, 20)

_log = logging.getLogger("kitaru.server")


def check_place(host: str, *, has_token: bool, insecure: bool) -> None:
    """Refuse to let the whole network in by accident.

    Raises:
        KitaruUsageError: Others could reach the server, and it has no token.
    """
    if is_loopback(host) or has_token or insecure:
        return
    message = (
        f"a server on {host!r} can be reached by other machines, and has no token to tell who may: whoever"
        f" reaches it can read and change everything. Set `KITARU_AUTH_TOKEN` for the server, or say"
        f" `--insecure` if something in front of it decides."
    )
    raise KitaruUsageError(message)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        KitaruUsageError: The port is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A server that was there a moment ago leaves its connections behind, and the port is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.set_inheritable(True)
    except OverflowError as error:
        listener.close()
        message = f"expected `--port` to be from 0 to 65535, got: {port}"
        raise KitaruUsageError(message) from error
    except OSError as error:
        listener.close()
        raise _unusable(host, port, error) from error
    return listener


def _unusable(host: str, port: int, error: OSError) -> KitaruUsageError:
    match error.errno:
        case errno.EADDRINUSE:
            why = (
                f"port {port} of {host} is in use by another process. Name another one with `--port`;"
                f" `--port 0` takes any that is free."
            )
        case errno.EACCES:
            why = f"port {port} of {host} is for privileged processes. Name another one with `--port`."
        case errno.EADDRNOTAVAIL:
            why = f"{host!r} is no address of this machine. Name one with `--host`."
        case _:
            why = f"{host!r} cannot be listened on: {error.strerror or error}. See `--host`."
    return KitaruUsageError(why)


def url_of(listener: socket.socket) -> str:
    """Return where a socket is reached from this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
        host = LOOPBACK
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Uvicorn(uvicorn.Server):
    """A server that others stop, and that lets those go who listen for more."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone: the process has its own way to be stopped."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End live streams first: nobody would wait for them to end by themselves."""
        serving: Serving = self._app.state.serving
        serving.end_streams()
        await super().shutdown(sockets)


class HttpServer:
    """The API of a store, on a socket, in a thread of its own.

    Args:
        settings: Whose store.
        listener: The socket.
        attendants: Who looks after executions for as long as it runs.
        insecure: Answer by whatever name it is asked for, though there is no token.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        *,
        insecure: bool = False,
        attendants: Callable[[ServedStore], Sequence[Attendant]] = lambda _: (),
    ) -> None:
        self.url = url_of(listener)
        self._listener = listener
        is_here = is_loopback(listener.getsockname()[0]) and not insecure
        app = create_app(settings, attendants=attendants, only_loopback=is_here)
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="on",
                ws="none",
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            ),
            app,
        )
        self._thread = threading.Thread(target=self._run, name="kitaru-http", daemon=True)
        self._failure: BaseException | None = None
        self._settled = threading.Event()

    def start(self) -> None:
        """Begin, and return once requests are answered.

        Raises:
            KitaruBackendError: It cannot begin.
        """
        self._thread.start()
        watch = threading.Thread(target=self._wait_until_started, daemon=True)
        watch.start()
        self._settled.wait(_START_SECONDS)
        if not self._server.started:
            self.stop()
            message = f"the server could not be started: {self._failure or 'see its log'}"
            raise KitaruBackendError(message) from self._failure

    @property
    def under_way(self) -> int:
        """How many requests it has begun and not answered."""
        return len(self._server.server_state.tasks)

    def check(self) -> None:
        """Raise `KitaruBackendError` if it has ended by itself."""
        if not self._thread.is_alive():
            message = f"the server has ended: {self._failure or 'see its log'}"
            raise KitaruBackendError(message) from self._failure

    def stop(self) -> None:
        """Finish the requests that are under way, let the others go, and end; safe to repeat."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except BaseException as error:  # noqa: BLE001 - told where it was started
            self._failure = error
            _log.error("the server has ended", exc_info=error)
        finally:
            self._settled.set()

    def _wait_until_started(self) -> None:
        nobody = threading.Event()
        while not self._server.started and not self._settled.is_set():
            nobody.wait(0.01)
        self._settled.set()


@contextlib.contextmanager
def _seldom_collecting() -> Generator[None]:
    """Have the garbage collector look seldom, and at nothing that a server is made of.

    It takes a sixth of a server's processor time otherwise, and finds next to nothing.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def attendants_of(
    settings: Settings, stop: threading.Event
) -> Callable[[ServedStore], Sequence[Attendant]]:
    """Return what makes the attendants of a server: they wake and take back, and start no process.

    Every replica has some. What each does is decided again by the store's statement, so that two are in
    nobody's way.
    """

    def make(store: Store) -> Sequence[Attendant]:
        clock = store.clock
        pruner = Pruner(
            store=store,
            blobs=open_blobs(settings.artifact_store, access=settings.access),
            clock=clock,
            rules=settings.retention,
            rest=stop.wait,
        )
        return (
            Attendant(
                (
                    Reaper(store=store, clock=clock),
                    Timers(store=store, clock=clock),
                    Expiry(store=store, clock=clock),
                )
            ),
            Attendant((pruner,), delay_seconds=_PRUNE_DELAY_SECONDS),
        )

    return make


def serve(
    settings: Settings,
    stop: threading.Event,
    *,
    host: str = LOOPBACK,
    port: int = DEFAULT_PORT,
    insecure: bool = False,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Be a server until `stop` is set.

    Args:
        settings: Whose store.
        stop: Ends it, after the requests at hand.
        host: Which of the machine's addresses it listens on.
        port: Where; 0 takes any that is free.
        insecure: Let other machines in without a token.
        ready: Called with the URL once requests are answered.

    Raises:
        KitaruUsageError: The place cannot be had, or would let everybody in.
        KitaruBackendError: The store cannot be used, or its schema is not this version's.
    """
    check_place(host, has_token=settings.auth_token is not None, insecure=insecure)
    listener = bind(host, port)
    try:
        # A store that cannot be used is told now: the first use of one checks its schema.
        open_store(settings.store_url, access=settings.access).list_workers()
        server = HttpServer(
            settings, listener, attendants=attendants_of(settings, stop), insecure=insecure
        )
    except BaseException:
        listener.close()
        raise
    server.start()
    try:
        ready(server.url)
        with _seldom_collecting():
            while not stop.wait(1.0):
                server.check()
    finally:
        server.stop()
