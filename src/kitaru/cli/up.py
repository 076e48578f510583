"""`kitaru up` and `kitaru down`: a process that looks after the executions of the store."""

from __future__ import annotations

import threading
from typing import Annotated

from cyclopts import Parameter

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_item, print_note, print_text
from kitaru.errors import KitaruUsageError
from kitaru.stopping import on_stop_signals


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
    output: OutputFormat = "text",
) -> None:
    """Look after the store's executions until Ctrl-C: recover, wake, expire, run and prune them."""
    if processes < 1:
        message = f"expected `--processes` to be 1 or more, got: {processes}"
        raise KitaruUsageError(message)
    from kitaru.attendant import serving
    from kitaru.cli.service_log import log_to_stderr

    present = settings.current()
    store = settings.masked_url(present.store_url)
    if background:
        started = serving.start_in_background(present, processes=processes)
        if output == "json":
            print_item("up", {"pid": started.pid, "store": store, "log": started.log})
        else:
            print_text(
                f"Attendant {started.pid} looks after {store}.\n"
                f"  Log: {started.log}\n"
                f"  Stop it with: kitaru down"
            )
        return
    log_to_stderr()
    stop = threading.Event()
    on_stop_signals(stop.set)
    serving.attend(
        present,
        stop,
        processes=processes,
        ready=lambda instance: print_note(
            f"Attendant {instance.pid} looks after {store}. Ctrl-C stops it."
        ),
    )
