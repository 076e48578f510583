"""`kitaru executions input`: answer what executions ask."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_item, print_note, print_text
from kitaru.client import Execution, ExecutionStatus, KitaruClient, shapes
from kitaru.errors import KitaruBackendError, KitaruStateError, KitaruUsageError

_Flag = Parameter(negative=())
_START_SECONDS = 10.0  # in which a process has begun, however busy the machine is
_LOOK_SECONDS = 0.05


def input_(
    exec_id: str | None = None,
    *,
    wait: str | None = None,
    value: str | None = None,
    abort: Annotated[bool, _Flag] = False,
    interactive: Annotated[bool, Parameter(name=["--interactive", "-i"], negative=())] = False,
    output: OutputFormat = "text",
) -> None:
    """Answer what an execution waits for, so that it goes on.

    Args:
        exec_id: Its id, or how the id begins; with --interactive, all that wait if none is given.
        wait: The wait's name or id; not needed if only one is open.
        value: The answer as JSON: true, 3, '"text"', '{"approved": true}'; null for a gate.
        abort: Abort the wait instead of answering it.
        interactive: Be asked in the terminal, question by question.
    """
    if interactive:
        if value is not None or abort or wait is not None or output == "json":
            message = (
                "`--interactive` asks for the answers: leave out `--wait`, `--value`, `--abort` and"
                " `--output json`."
            )
            raise KitaruUsageError(message)
        _sweep(exec_id)
        return
    if exec_id is None:
        message = "expected the id of an execution. `--interactive` asks for all that wait."
        raise KitaruUsageError(message)
    if abort == (value is not None):
        message = "expected one of `--value`, which is the answer as JSON, and `--abort`."
        raise KitaruUsageError(message)
    _resolve(exec_id, wait, value, output)


def _resolve(exec_id: str, wait: str | None, value: str | None, output: OutputFormat) -> None:
    """Answer a wait, or abort it if there is no value, and have the execution go on."""
    client = KitaruClient()
    answer = None if value is None else client.executions.parse_answer(value)
    execution = client.executions.get(exec_id)
    selector = wait if wait is not None else _only_wait(execution)
    if value is None:
        client.executions.abort_wait(execution.exec_id, wait=selector, via="cli")
    else:
        client.executions.input(execution.exec_id, wait=selector, value=answer, via="cli")
    _go_on(client, execution.exec_id, selector, output, aborted=value is None)


def _only_wait(execution: Execution) -> str:
    pending = execution.pending_waits
    if len(pending) == 1:
        return pending[0].wait_id
    if not pending:
        message = (
            f"execution {execution.exec_id!r} is {execution.status.value} and asks nothing."
            f" `kitaru executions why {execution.exec_id}` says more."
        )
        raise KitaruStateError(message)
    names = ", ".join(repr(wait.wait_id) for wait in pending)
    message = (
        f"execution {execution.exec_id!r} waits for {len(pending)} answers: {names}."
        f" Say which with `--wait`, or answer all with `--interactive`."
    )
    raise KitaruStateError(message)


def _go_on(
    client: KitaruClient, exec_id: str, wait: str, output: OutputFormat, *, aborted: bool
) -> None:
    """Have the execution go on, and show where it stands."""
    from kitaru import worker
    from kitaru.cli.progress import result_alone_on_stdout

    with result_alone_on_stdout(output):
        pid = _continue(exec_id)
    log = None if pid is None else str(worker.runner_log(settings.current(), exec_id))
    if pid is not None:
        _wait_until_taken_up(client, [exec_id])
    execution = client.executions.get(exec_id)
    if output == "json":
        done = {"resolved_wait": wait, "aborted": aborted, "runner_pid": pid, "runner_log": log}
        print_item("executions.input", {**shapes.execution(execution), **done})
        return
    print_text(f"{'Aborted wait' if aborted else 'Resolved wait input'} for execution: {exec_id}")
    print_text(f"  Status: {execution.status.value}")
    if pid is not None:
        print_text(f"  Continued by: process {pid}, which writes to {log}")


def _continue(exec_id: str) -> int | None:
    """Have somebody go on with an execution; return the process started for that, if one was."""
    from kitaru import worker

    try:
        return worker.continue_detached(exec_id)
    except Exception as error:  # noqa: BLE001 - a script may fail in any way when it is loaded
        # The answer is durable: whoever has the code goes on with it.
        print_note(
            f"Warning: the answer is recorded, but execution {exec_id} does not go on: {error}"
        )
        return None


def _wait_until_taken_up(client: KitaruClient, exec_ids: list[str]) -> None:
    """Return when processes that were started for executions have them, or take too long."""
    deadline = time.monotonic() + _START_SECONDS
    for exec_id in exec_ids:
        while client.executions.get(exec_id).status is ExecutionStatus.PENDING:
            if time.monotonic() > deadline:
                return
            time.sleep(_LOOK_SECONDS)


def _sweep(exec_id: str | None) -> None:
    from kitaru import worker

    if not worker.is_interactive():
        message = (
            "`--interactive` needs a terminal. Elsewhere, answer with the id of an execution and"
            " `--value`."
        )
        raise KitaruUsageError(message)
    client = KitaruClient()
    found = None if exec_id is None else client.executions.get(exec_id).exec_id
    started: list[str] = []
    result = worker.sweep(
        found, then=lambda answered: _continue(answered) and started.append(answered)
    )
    _wait_until_taken_up(client, started)
    if not result.found and not result.stopped:
        print_text("Nothing waits for an answer.")
        return
    over = f", {result.over} over before" if result.over else ""
    print_text(
        f"\n{result.answered} answered, {result.aborted} aborted, {result.skipped} skipped{over}"
    )
    if result.failed:
        count = "1 answer" if result.failed == 1 else f"{result.failed} answers"
        message = f"{count} could not be recorded; these waits are open as before."
        raise KitaruBackendError(message)
