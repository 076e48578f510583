"""The application: what it is made of, and its life from start to end.

`create_app` puts together routes, errors and the ways in; every route module of `kitaru.server.routes` has a
`router` and finds what it needs in `app.state`:

* `settings`: the server's own settings.
* `store`, `blobs`: where things are kept.
* `calls`: `Calls`, which runs blocking work beside the event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from kitaru._version import __version__
from kitaru.blobs import BlobStore, open_blobs
from kitaru.server.calls import Calls
from kitaru.server.problems import install_handlers
from kitaru.settings import Settings
from kitaru.store import Store, open_store

API = "/api/v1"

_ROUTERS: tuple[APIRouter, ...] = ()
"""Those of the modules in `kitaru.server.routes`, each below `API`."""


def create_app(
    settings: Settings, *, store: Store | None = None, blobs: BlobStore | None = None
) -> FastAPI:
    """Return the server's application, for uvicorn or any other ASGI server.

    Args:
        settings: Of the server; its `store_url` and `artifact_store` say where things are kept.
        store: Use this store instead; whoever gives it closes it.
        blobs: Use this place for large values instead.
    """

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncGenerator[None]:
        calls = Calls()
        app.state.calls = calls
        app.state.store = store or await calls.run(open_store, settings.store_url)
        app.state.blobs = blobs or open_blobs(settings.artifact_store)
        try:
            yield
        finally:
            calls.close()
            if store is None:
                app.state.store.close()

    app = FastAPI(
        title="Kitaru",
        version=__version__,
        lifespan=live,
        openapi_url=f"{API}/openapi.json",
        docs_url=f"{API}/docs",
        redoc_url=None,
    )
    app.state.settings = settings
    install_handlers(app)
    for router in _ROUTERS:
        app.include_router(router, prefix=API)
    return app
