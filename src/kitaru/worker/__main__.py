"""`python -m kitaru.worker --once EXEC_ID`: continue one execution, and end when it is over or waits."""

from __future__ import annotations

import argparse
import sys

from kitaru import settings
from kitaru.errors import KitaruError
from kitaru.model import ExecutionStatus
from kitaru.stopping import on_stop_signals
from kitaru.worker import interrupt
from kitaru.worker.loading import find_flow
from kitaru.worker.resuming import run_once
from kitaru.worker.runners import local_runner


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if the execution failed or could not be continued."""
    parser = argparse.ArgumentParser(prog="python -m kitaru.worker", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--once", metavar="EXEC_ID", help="the execution to continue")
    what.add_argument(
        "--check",
        nargs=2,
        metavar=("ROOT", "REF"),
        help="only see whether a flow's code can be loaded",
    )
    given = parser.parse_args(arguments)
    try:
        if given.check is not None:
            find_flow(*given.check)
            return 0
        runner = local_runner(settings.current(), keeps_stacks=False)
        interrupt.disown()
        on_stop_signals(runner.release_all)
        execution = run_once(given.once)
    except KitaruError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 1 if execution.status is ExecutionStatus.FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
