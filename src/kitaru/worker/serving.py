"""A worker as a process of its own: `kitaru worker`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kitaru import settings
from kitaru.errors import KitaruUsageError
from kitaru.settings_rules import check_stack
from kitaru.stopping import on_stop_signals
from kitaru.worker import interrupt
from kitaru.worker.flow_table import load_flows
from kitaru.worker.runners import local_runner
from kitaru.worker.service import Worker

DEFAULT_CONCURRENCY = 16
DEFAULT_DRAIN_SECONDS = 10.0


def serve(
    modules: Sequence[str] = (),
    *,
    stack: str | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    drain_seconds: float = DEFAULT_DRAIN_SECONDS,
    ready: Callable[[Sequence[str]], None] = lambda _: None,
) -> None:
    """Claim and run pending executions in this process until SIGTERM or Ctrl-C.

    Args:
        modules: Whose flows, as `package.module` or `path/to/file.py`; none for every flow of the project
            whose code can be found here.
        stack: Only executions of this stack; the configured one, if not given.
        concurrency: How many run at once.
        drain_seconds: How long runs may go on after the first signal before they are given back. A second
            signal ends the process at once.
        ready: Called with the names of the flows before the first claim.

    Raises:
        KitaruUsageError: An argument is not acceptable, or a module has no flows.
        KitaruNotFoundError: There is no such module.
        KitaruBackendError: The store cannot be opened.
    """
    if concurrency < 1:
        message = f"expected `concurrency` to be 1 or more, got: {concurrency!r}"
        raise KitaruUsageError(message)
    if not 0 <= drain_seconds < float("inf"):
        message = f"expected `drain_seconds` to be 0 or more, got: {drain_seconds!r}"
        raise KitaruUsageError(message)
    present = settings.current()
    served = check_stack(stack or present.stack)
    # Before user code that might ask for one of another kind.
    runner = local_runner(present, keeps_stacks=False)
    flows = load_flows(modules) if modules else None
    runner.store.list_workers()  # a store that cannot be opened is told now, not tried for ever
    worker = Worker(
        runner, flows, stack=served, concurrency=concurrency, drain_seconds=drain_seconds
    )
    interrupt.disown()
    on_stop_signals(worker.stop)
    ready(flows.names if flows is not None else ())
    worker.serve()
