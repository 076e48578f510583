"""`python -m kitaru.server`: what `kitaru up --background` starts, an attendant that answers over HTTP."""

from __future__ import annotations

import argparse
import logging
import sys
import threading

from kitaru import settings
from kitaru.attendant.serving import DEFAULT_PROCESSES, attend
from kitaru.errors import KitaruError
from kitaru.server.companion import companion_of
from kitaru.server.running import DEFAULT_PORT, LOOPBACK
from kitaru.stopping import on_stop_signals


def main(arguments: list[str] | None = None) -> int:
    """Attend to the store of the settings, and serve it, until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kitaru.server", description=__doc__)
    parser.add_argument("--log", metavar="FILE", help="where the output goes, for `kitaru status`")
    parser.add_argument("--processes", type=int, default=DEFAULT_PROCESSES)
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    on_stop_signals(stop.set)
    try:
        present = settings.current()
        attend(
            present,
            stop,
            log=given.log,
            processes=given.processes,
            companion=companion_of(present, host=given.host, port=given.port),
        )
    except KitaruError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
