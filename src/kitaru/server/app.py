"""The application: what it is made of, and its life from start to end.

`create_app` puts together routes, errors and the ways in. Every module of `kitaru.server.routes` has a
`router`, and finds what it needs by `Serving.of(request)`: settings, store, blobs, threads, time. The same
lies in `app.state`, as `serving`, and by name as `settings`, `store`, `blobs` and `calls`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

from fastapi import APIRouter, FastAPI

from kitaru._version import __version__
from kitaru.attendant import Attendant
from kitaru.blobs import open_blobs
from kitaru.blobs.contract import ServedBlobs
from kitaru.clock import MICROSECONDS
from kitaru.errors import KitaruError, KitaruUsageError
from kitaru.server.access import Door
from kitaru.server.calls import Calls
from kitaru.server.changes import Bell
from kitaru.server.lane import FastLane
from kitaru.server.limits import MOST_BYTES, SILENT_SECONDS, BodyLimits
from kitaru.server.metrics import CountRequests, Metrics, metered
from kitaru.server.openapi import describe_app
from kitaru.server.problems import install_handlers
from kitaru.server.routes import blobs as blob_routes
from kitaru.server.routes import executions, following, health, project
from kitaru.server.routes import store as store_routes
from kitaru.server.serving import Serving
from kitaru.server.streams import Streams
from kitaru.server.timekeeping import Timekeeper
from kitaru.server.visitors import NoStrangers
from kitaru.settings import Settings
from kitaru.settings_rules import is_server
from kitaru.store import open_store
from kitaru.store.contract.serving import ServedStore
from kitaru.store.journal_writer import JournalWriter

API = "/api/v1"

_ROUTERS: tuple[APIRouter, ...] = (
    store_routes.router,
    blob_routes.router,
    following.router,
    executions.router,
    project.router,
)
"""Those of the modules in `kitaru.server.routes`, each below `API`."""

# Clients send a request again for a minute and a half; people, for as long as they look at a terminal.
_RECEIPTS_ARE_KEPT = 2 * 3600 * MICROSECONDS
_FORGET_SECONDS = 600.0
_ASK_SECONDS = 30.0

_log = logging.getLogger("kitaru.server")

# A database that is away for a moment is waited for here; for longer, clients wait (`wire/connection.py`).
_PATIENCE_SECONDS = 3.0
_URGENT_THREADS = 2


def create_app(
    settings: Settings,
    *,
    store: ServedStore | None = None,
    blobs: ServedBlobs | None = None,
    most_bytes: int = MOST_BYTES,
    silent_seconds: float = SILENT_SECONDS,
    attendants: Callable[[ServedStore], Sequence[Attendant]] = lambda _: (),
    only_loopback: bool = False,
) -> FastAPI:
    """Return the server's application, for uvicorn or any other ASGI server.

    Args:
        settings: Of the server; its `store_url` and `artifact_store` say where things are kept, and its
            `auth_token` who is let in.
        store: Use this store instead; whoever gives it closes it.
        blobs: Use this place for large values instead.
        most_bytes: How much one request may bring, large values apart.
        silent_seconds: How long whoever sends a request may say nothing.
        attendants: Who looks after the store's executions for as long as the application lives.
        only_loopback: Without a token, answer only who asks for it by a name of this machine.

    Raises:
        KitaruUsageError: The settings lead to another server.
    """
    if store is None and is_server(settings.store_url):
        message = (
            f"a server needs a database of its own, and `store_url` is another server's:"
            f" {settings.store_url!r}. Set it to a file or to a Postgres database."
        )
        raise KitaruUsageError(message)
    time = Timekeeper()
    metrics = Metrics()

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncGenerator[None]:
        calls, urgent_calls = Calls(), Calls(_URGENT_THREADS)
        served = store or cast("ServedStore", await calls.run(open_store, settings.store_url))
        served.answer_within(_PATIENCE_SECONDS)
        served = metered(served, metrics)
        metrics.follow(served)
        time.follow(served.clock)
        serving = Serving(
            settings=settings,
            store=served,
            blobs=blobs or cast("ServedBlobs", open_blobs(settings.artifact_store)),
            writer=JournalWriter(served.commit),
            calls=calls,
            urgent_calls=urgent_calls,
            time=time,
            bell=Bell(served),
            streams=Streams(served, calls),
        )
        app.state.serving = serving
        app.state.store, app.state.blobs, app.state.calls = served, serving.blobs, calls
        upkeep = asyncio.create_task(_keep_up(serving))
        present = attendants(served)
        for attendant in present:
            attendant.start()
        try:
            yield
        finally:
            upkeep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await upkeep
            serving.end_streams()
            for attendant in present:
                await calls.run(attendant.stop)
            urgent_calls.close()
            calls.close()
            if store is None:
                served.close()

    app = FastAPI(
        title="Kitaru",
        version=__version__,
        lifespan=live,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # its page has browsers load scripts from elsewhere
        redoc_url=None,
    )
    app.state.settings, app.state.metrics = settings, metrics
    app.state.readiness = health.Readiness()
    install_handlers(app)
    app.include_router(health.router)
    for router in _ROUTERS:
        app.include_router(router, prefix=API)
    app.add_middleware(
        FastLane, below=f"{API}/store/", parameter="operation", endpoint=store_routes.perform
    )
    app.add_middleware(
        BodyLimits,
        most_bytes=most_bytes,
        others={
            f"{API}/blobs/": blob_routes.MOST_BYTES,
            f"{API}/imports": blob_routes.MOST_BYTES,
        },
        silent_seconds=silent_seconds,
    )
    if settings.auth_token is None:
        app.add_middleware(NoStrangers, only_loopback=only_loopback)
    # The last one added is the outermost.
    app.add_middleware(Door, token=settings.auth_token, time=time)
    app.add_middleware(CountRequests, metrics=metrics, prefix=API)
    describe_app(app)
    return app


async def _keep_up(serving: Serving) -> None:
    """Follow the store's clock, and forget what no client asks for again."""
    loop = asyncio.get_running_loop()
    forgotten_at = loop.time()
    while True:
        try:
            now = await serving.calls.run(serving.time.ask)
            if loop.time() - forgotten_at >= _FORGET_SECONDS:
                before = now - _RECEIPTS_ARE_KEPT
                await serving.calls.run(serving.store.forget_receipts, before=before)
                forgotten_at = loop.time()
        except KitaruError as error:
            _log.warning("the store could not be kept up: %s", error)
        await asyncio.sleep(_ASK_SECONDS)
