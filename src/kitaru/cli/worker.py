"""`kitaru worker`: run what is pending, until it is told to stop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from kitaru import settings
from kitaru.cli.output import print_note


def worker(
    *modules: str,
    stack: str | None = None,
    concurrency: Annotated[int, Parameter(negative=())] = 16,
    drain: Annotated[float, Parameter(negative=())] = 10.0,
) -> None:
    """Claim pending executions and run them here, until SIGTERM or Ctrl-C.

    The first signal lets what runs go on for a while and gives the rest back at its next checkpoint; the
    second ends the process at once. Nothing is lost either way.

    Args:
        modules: Whose flows: `package.module` or `path/to/file.py`. Without any, every flow of the project
            whose code can be found.
        stack: Only executions of this stack.
        concurrency: How many run at once; those that wait do not count.
        drain: Seconds that runs may go on after the first signal.
    """
    from kitaru import worker as workers
    from kitaru.cli.service_log import log_to_stderr

    log_to_stderr()
    present = settings.current()

    def ready(names: Sequence[str]) -> None:
        served = f"flows {', '.join(names)}" if names else "whatever flow can be found"
        print_note(
            f"Worker {os.getpid()} of project {present.project!r} runs {served}, up to {concurrency} at"
            f" once. Store: {settings.masked_url(present.store_url)}. Ctrl-C stops it."
        )

    workers.serve(modules, stack=stack, concurrency=concurrency, drain_seconds=drain, ready=ready)
    print_note("Worker stopped.")
