"""`python -m kitaru.attendant`: what `kitaru up --background` starts."""

from __future__ import annotations

import argparse
import logging
import sys
import threading

from kitaru import settings
from kitaru.attendant.serving import DEFAULT_PROCESSES, attend
from kitaru.errors import KitaruError
from kitaru.stopping import on_stop_signals


def main(arguments: list[str] | None = None) -> int:
    """Attend to the store of the settings until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kitaru.attendant", description=__doc__)
    parser.add_argument("--log", metavar="FILE", help="where the output goes, for `kitaru status`")
    parser.add_argument("--processes", type=int, default=DEFAULT_PROCESSES)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    on_stop_signals(stop.set)
    try:
        attend(settings.current(), stop, log=given.log, processes=given.processes)
    except KitaruError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
