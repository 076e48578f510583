"""`kitaru executions input`: answer what executions ask."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from kitaru.cli.output import OutputFormat, print_item, print_note, print_text
from kitaru.client import Execution, KitaruClient, shapes
from kitaru.errors import KitaruError, KitaruRuntimeError, KitaruStateError, KitaruUsageError

_Flag = Parameter(negative=())


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
            message = "`--interactive` asks for answers: leave out `--wait`, `--value`, `--abort` and JSON."
            raise KitaruUsageError(message)
        _sweep(exec_id)
        return
    if exec_id is None:
        message = "expected the id of an execution. `--interactive` asks for all that wait."
        raise KitaruUsageError(message)
    if abort == (value is not None):
        message = "expected one of `--value` and `--abort`: what is answered, or that the wait is aborted."
        raise KitaruUsageError(message)
    client = KitaruClient()
    execution = client.executions.get(exec_id)
    selector = wait if wait is not None else _only_wait(execution)
    if abort:
        client.executions.abort_wait(execution.exec_id, wait=selector, via="cli")
    else:
        answer = client.executions.parse_answer(value or "")
        client.executions.input(execution.exec_id, wait=selector, value=answer, via="cli")
    _go_on(client, execution.exec_id, selector, output, aborted=abort)


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
    from kitaru.cli.progress import result_alone_on_stdout

    with result_alone_on_stdout(output):
        pid, problem = _continue(exec_id)
    execution = client.executions.get(exec_id)
    if output == "json":
        item = {**shapes.execution(execution), "resolved_wait": wait, "aborted": aborted}
        print_item("executions.input", {**item, "runner_pid": pid, "problem": problem})
        return
    done = "Aborted wait" if aborted else "Resolved wait input"
    print_text(f"{done} for execution: {exec_id}")
    print_text(f"  Status: {execution.status.value}")
    if pid is not None:
        print_text(
            f"  Continued by process {pid}; look at it with: kitaru executions watch {exec_id}"
        )


def _continue(exec_id: str) -> tuple[int | None, str | None]:
    from kitaru import worker

    try:
        return worker.continue_detached(exec_id), None
    except (KitaruError, OSError, ImportError) as error:
        # The answer is durable: whoever has the code goes on with it.
        print_note(
            f"The answer to execution {exec_id} is recorded, but it cannot be continued here: {error}"
        )
        return None, str(error)


def _sweep(exec_id: str | None) -> None:
    from kitaru import worker

    if not worker.is_interactive():
        message = "`--interactive` needs a terminal. Answer with `--wait` and `--value` elsewhere."
        raise KitaruUsageError(message)
    client = KitaruClient()
    found = None if exec_id is None else client.executions.get(exec_id).exec_id
    result = worker.sweep(found, then=_continue_and_forget)
    if not (result.answered or result.skipped or result.over or result.failed or result.stopped):
        print_text("Nothing waits for an answer.")
        return
    answered = len(result.answered) - result.aborted
    print_text(
        f"{answered} answered, {result.aborted} aborted, {result.skipped} skipped,"
        f" {result.over} answered elsewhere"
    )
    if result.failed:
        message = f"{result.failed} answers could not be recorded."
        raise KitaruRuntimeError(message)


def _continue_and_forget(exec_id: str) -> None:
    _continue(exec_id)
