"""`kitaru up` and `kitaru down`: a process that looks after the executions of the store, and serves them."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru import settings
from kitaru.cli.extras import has_server, require_server
from kitaru.cli.output import OutputFormat, print_item, print_note, print_text
from kitaru.errors import KitaruUsageError
from kitaru.settings import Settings
from kitaru.stopping import on_stop_signals

_DEFAULT_HOST = "127.0.0.1"
_DEFAULT_PORT = 8422


def up(
    *,
    background: Annotated[
        bool, Parameter(negative=(), help="Return at once and go on in the background.")
    ] = False,
    processes: Annotated[
        int,
        Parameter(
            negative=(), help="How many processes run executions at once that no worker serves."
        ),
    ] = 16,
    port: Annotated[
        int | None,
        Parameter(negative=(), help="Where the API listens, 8422; 0 takes any that is free."),
    ] = None,
    host: Annotated[
        str | None, Parameter(help="Which address of this machine alone it listens on.")
    ] = None,
    output: OutputFormat = "text",
) -> None:
    """Look after the store's executions until Ctrl-C, and serve the API to this machine.

    It recovers, wakes, expires, runs and prunes them.
    """
    if processes < 1:
        message = f"expected `--processes` to be 1 or more, got: {processes}"
        raise KitaruUsageError(message)
    present = settings.current()
    refuse_servers(present)
    if background:
        started = start_in_background(present, processes=processes, port=port, host=host)
        if output == "json":
            print_item("up", {**_shape(started), "store": settings.masked_url(present.store_url)})
        else:
            print_text(_told(started, settings.masked_url(present.store_url)))
        return
    from kitaru.attendant import serving
    from kitaru.cli.service_log import log_to_stderr

    log_to_stderr()
    stop = threading.Event()
    on_stop_signals(stop.set)
    companion = None
    if serves(port, host):
        require_server()
        from kitaru.server.companion import companion_of

        companion = companion_of(
            present,
            host=host or _DEFAULT_HOST,
            port=_DEFAULT_PORT if port is None else port,
        )
    store = settings.masked_url(present.store_url)
    serving.attend(
        present,
        stop,
        processes=processes,
        companion=companion,
        ready=lambda instance: print_note(
            f"Attendant {instance.pid} looks after {store}{_at(instance.url)}. Ctrl-C stops it."
        ),
    )


def start_in_background(
    present: Settings, *, processes: int = 16, port: int | None = None, host: str | None = None
) -> Any:
    """Start a process that is the store's attendant, and return it once it has begun."""
    from kitaru.attendant import serving

    if not serves(port, host):
        return serving.start_in_background(present, processes=processes)
    # What can be refused is refused here, where someone looks.
    require_server()
    from kitaru.server.companion import companion_of

    companion_of(present, host=host or _DEFAULT_HOST, port=0)
    command = ["kitaru.server"]
    command += [] if port is None else ["--port", str(port)]
    command += [] if host is None else ["--host", host]
    return serving.start_in_background(present, processes=processes, command=command)


def serves(port: int | None, host: str | None) -> bool:
    """Return whether there is to be an API: where it can be had, or where it is asked for."""
    return has_server() or port is not None or host is not None


def refuse_servers(present: Settings) -> None:
    """Raise `KitaruUsageError` if executions are kept by a server, which looks after them itself."""
    if settings.is_server(present.store_url):
        where = present.sources["store_url"]
        message = (
            f"executions are kept by the server {settings.masked_url(present.store_url)} (from {where}),"
            f" which looks after them itself. `kitaru logout` leaves it, `kitaru login` starts one here."
        )
        raise KitaruUsageError(message)


def _shape(started: Any) -> dict[str, Any]:
    return {"pid": started.pid, "log": started.log, "url": started.url}


def _at(url: str | None) -> str:
    return f" and serves {url}" if url else ""


def _told(started: Any, store: str) -> str:
    api = f"  API: {started.url}/api/v1\n" if started.url else ""
    return (
        f"Attendant {started.pid} looks after {store}.\n"
        f"{api}"
        f"  Log: {started.log}\n"
        f"  Stop it with: kitaru down"
    )
