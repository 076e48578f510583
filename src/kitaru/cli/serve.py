"""`kitaru serve`: the server of a team."""

from __future__ import annotations

import threading
from typing import Annotated

from cyclopts import Parameter

from kitaru import settings
from kitaru.cli.extras import require_server
from kitaru.cli.output import print_note
from kitaru.stopping import on_stop_signals


def serve(
    *,
    host: Annotated[str, Parameter(help="Which of the machine's addresses it listens on.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int, Parameter(negative=(), help="Where it listens; 0 takes any that is free.")
    ] = 8422,
    insecure: Annotated[
        bool,
        Parameter(
            negative=(), help="Let in, without a token, whoever reaches it by whatever name."
        ),
    ] = False,
) -> None:
    """Serve the store of the settings over HTTP until SIGTERM or Ctrl-C, and look after its executions.

    Any number of servers may serve one database. A server runs no flows and starts no processes: workers do.
    """
    require_server()
    from kitaru.cli.service_log import log_to_stderr
    from kitaru.server import running

    log_to_stderr()
    present = settings.current()
    stop = threading.Event()
    on_stop_signals(stop.set)
    store = settings.masked_url(present.store_url)
    guarded = "" if present.auth_token else " Whoever reaches it is let in: it has no token."
    running.serve(
        present,
        stop,
        host=host,
        port=port,
        insecure=insecure,
        ready=lambda url: print_note(f"Serving {store} at {url}. Ctrl-C stops it.{guarded}"),
    )
    print_note("Server stopped.")
