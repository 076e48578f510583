"""A runner made of the public API: it continues what was interrupted and runs what is pending, for ever."""

from __future__ import annotations

import time

from kitaru.worker import recover

_LOOK_SECONDS = 0.1


def main() -> None:
    while True:
        recover()
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
