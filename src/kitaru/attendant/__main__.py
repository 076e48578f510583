"""`python -m kitaru.attendant`: what `kitaru up --background` starts."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from types import FrameType

from kitaru import settings
from kitaru.attendant.serving import attend
from kitaru.errors import KitaruError


def main(arguments: list[str] | None = None) -> int:
    """Attend to the store of the settings until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kitaru.attendant", description=__doc__)
    parser.add_argument("--log", metavar="FILE", help="where the output goes, for `kitaru status`")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        attend(settings.current(), stop, log=given.log)
    except KitaruError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
