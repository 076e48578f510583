"""From a URL to its store, one for each process."""

from __future__ import annotations

import atexit
import os
import re
import threading
from pathlib import Path
from urllib.parse import unquote

from kitaru.access import NO_ACCESS, ServerAccess
from kitaru.errors import KitaruFeatureNotAvailableError, KitaruUsageError
from kitaru.settings_rules import check_store_kind, is_server
from kitaru.store.contract import Store

_DRIVE = re.compile(r"/[A-Za-z]:")

# One store per file and process: its group commits and its one writer depend on it.
_stores: dict[tuple[str, ServerAccess | None], Store] = {}
_lock = threading.Lock()


def open_store(
    url: str,
    *,
    at_once: bool = True,
    flushes: bool = True,
    access: ServerAccess = NO_ACCESS,
) -> Store:
    """Return the store at `url`, the same one for the same URL everywhere in this process.

    `sqlite:///absolute/path` names a file on this machine, which is created and brought to this
    version's schema: now or, if not `at_once`, at its first use, so that a damaged one can be looked at.
    Without `flushes`, commits survive the process but not the machine; whoever opens it first says.
    `postgresql://user:password@host/database` names a database that `kitaru db migrate` has prepared.
    `https://kitaru.example.com` names a server; `access` is for servers, and means nothing to others.

    Durability: see `prepare` in `sqlite_schema.py`; safe to repeat and to race.

    Raises:
        KitaruUsageError: It is no URL of a store.
        KitaruFeatureNotAvailableError: Stores of its kind cannot be opened here.
        KitaruBackendError: The store cannot be reached or used.
    """
    kind = _kind_of(url)
    key = _key_of(url, kind, access)
    with _lock:
        store = _stores.get(key)
        if store is None:
            # Imported where they are needed: the SQL loader takes 50 ms, a driver as much again, that a
            # process without a store need not wait for.
            if kind == "postgresql":
                store = _open_postgres(url)
            elif is_server(url):
                from kitaru.store.http import HttpStore

                store = HttpStore(url, access=access)
            else:
                from kitaru.store.sqlite import SQLiteStore

                store = SQLiteStore(_sqlite_path(url), at_once=at_once, flushes=flushes)
            _stores[key] = store
    return store


def _kind_of(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator:
        message = f"expected the URL of a store such as 'sqlite:///home/me/kitaru.db', got: {url!r}"
        raise KitaruUsageError(message)
    check_store_kind(scheme)
    return {"postgres": "postgresql"}.get(scheme, scheme)


def _key_of(url: str, kind: str, access: ServerAccess) -> tuple[str, ServerAccess | None]:
    if kind == "sqlite":
        return str(_sqlite_path(url).resolve()), None
    # Who has another token is somebody else to the server.
    return (url.rstrip("/"), access) if is_server(url) else (url, None)


def _open_postgres(url: str) -> Store:
    try:
        from kitaru.store.postgres import PostgresStore
    except ImportError as error:
        message = (
            "stores on Postgres need the driver: `pip install 'kitaru[postgres]'`, or"
            " `pip install 'kitaru[server]'` where a server runs."
        )
        raise KitaruFeatureNotAvailableError(message) from error
    return PostgresStore(url)


def _sqlite_path(url: str) -> Path:
    path = unquote(url.partition("://")[2])
    if not path.startswith("/"):
        message = (
            f"expected an absolute path after 'sqlite://', got: {url!r}."
            f" Write three slashes: 'sqlite:///{path}'"
        )
        raise KitaruUsageError(message)
    # Four slashes are how other libraries write it.
    path = "/" + path.lstrip("/")
    return Path(os.path.normpath(path[1:] if _DRIVE.match(path) else path))


def forget_store(url: str, *, access: ServerAccess = NO_ACCESS) -> None:
    """Close a store, if this process has opened it."""
    with _lock:
        store = _stores.pop(_key_of(url, _kind_of(url), access), None)
    if store is not None:
        store.close()


def forget_stores() -> None:
    """Close every store that this process has opened.

    Runs at exit too, after all threads of flows have ended. The last to close a file copies its log into
    it, so that a store at rest is one file.
    """
    with _lock:
        stores = list(_stores.values())
        _stores.clear()
    for store in stores:
        store.close()


atexit.register(forget_stores)
