"""`kitaru run`: start a flow in this process and show its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_item, print_text
from kitaru.client import Execution
from kitaru.errors import KitaruNotFoundError, KitaruUsageError


def run(
    target: str,
    *,
    inputs: Annotated[str | None, Parameter(name="--input")] = None,
    stack: str | None = None,
    idempotency_key: str | None = None,
    detach: Annotated[bool, Parameter(negative=())] = False,
    output: OutputFormat = "text",
) -> None:
    """Run a flow here and print its result.

    Ctrl-C stops it at its next checkpoint; `kitaru executions recover` continues it.

    Args:
        target: The flow: `package.module:flow` or `path/to/file.py:flow`.
        inputs: Its arguments as a JSON object, or `@file` with one.
        stack: Where it runs.
        idempotency_key: Return the execution that was started with this key before, if there is one.
        detach: Do not run it here: leave it to a worker, or to a process started for it, and return.
    """
    from kitaru import worker
    from kitaru.cli.progress import follow_here, result_alone_on_stdout
    from kitaru.client import KitaruClient

    options = {"stack": stack, "idempotency_key": idempotency_key}
    given = {name: value for name, value in options.items() if value is not None}
    arguments = arguments_of(inputs, "--input")
    if detach:
        with result_alone_on_stdout(output):
            exec_id, is_new = worker.start_detached(_load_flow(target), arguments, **given)
            pid = worker.continue_detached(exec_id)
        show_detached(exec_id, pid, output, is_new=is_new)
        return
    with result_alone_on_stdout(output):
        flow = _load_flow(target)
        [execution] = follow_here(KitaruClient(), lambda: [worker.start(flow, arguments, **given)])
    show_end("run", execution, output)


def show_detached(exec_id: str, pid: int | None, output: OutputFormat, *, is_new: bool) -> None:
    """Print which execution was started, and who runs it."""
    from kitaru import worker
    from kitaru.client import KitaruClient, shapes

    execution = KitaruClient().executions.get(exec_id)
    log = None if pid is None else str(worker.runner_log(settings.current(), exec_id))
    if output == "json":
        print_item(
            "run", {**shapes.execution_summary(execution), "runner_pid": pid, "runner_log": log}
        )
        return
    if is_new:
        print_text(f"Started execution: {exec_id}")
    else:
        print_text(f"Execution with this idempotency key: {exec_id}")
        print_text(f"  Status: {execution.status.value}")
    if pid is not None:
        print_text(f"  Run by: process {pid}, which writes to {log}")
    print_text(f"  Watch it: kitaru executions watch {exec_id}")


def show_end(command: str, execution: Execution, output: OutputFormat) -> None:
    """Print a completed execution's result, or what one waits for that has left this process.

    In text mode a string is printed as it is, everything else as JSON; in JSON mode the result is a
    part of its execution.

    Raises:
        KitaruExecutionError: It did not complete, and does not wait either.
    """
    from kitaru.cli.progress import check_completed
    from kitaru.client import ExecutionStatus, KitaruClient, shapes

    if execution.status is ExecutionStatus.WAITING:
        if output == "json":
            print_item(command, {**shapes.execution_summary(execution), "result": None})
        else:
            print_text(f"Waiting execution: {execution.exec_id}")
            print_text(f"  Status: {execution.status.value}")
            print_text(f"  {KitaruClient().executions.why(execution.exec_id)}")
        return
    check_completed(execution)
    result = execution.describe_result()
    if output == "json":
        print_item(command, {**shapes.execution_summary(execution), "result": result})
    elif isinstance(result, str):
        print_text(result)
    else:
        print_text(json.dumps(result, ensure_ascii=False, indent=2))


def _load_flow(target: str) -> Any:
    from kitaru import Flow
    from kitaru.code_ref import CodeRef, add_import_root

    add_import_root(str(Path.cwd()))
    reference = CodeRef.parse(target)
    if reference.module.endswith(".py") and not Path(reference.module).is_file():
        message = f"the file {reference.module!r} does not exist; there is no {reference.qualname!r} to run."
        raise KitaruNotFoundError(message)
    found = reference.load()
    if not isinstance(found, Flow):
        message = f"{target!r} is no flow but {type(found).__name__}. Decorate it with `@flow`."
        raise KitaruUsageError(message)
    return found  # pyright: ignore[reportUnknownVariableType] - of any parameters


def arguments_of(text: str | None, option: str) -> dict[str, Any]:
    """Return the JSON object that an option has, or that is in the file it names.

    Raises:
        KitaruUsageError: It is no JSON object, or the file cannot be read.
    """
    if text is None:
        return {}
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except OSError as error:
            message = f"input file '{error.filename}' cannot be read: {error.strerror}."
            raise KitaruUsageError(message) from error
    try:
        found = json.loads(text)
    except ValueError as error:
        message = f"expected `{option}` to be a JSON object, got: {text[:80]!r} ({error})"
        raise KitaruUsageError(message) from error
    if not isinstance(found, dict):
        message = f"expected `{option}` to be a JSON object, got: {text[:80]!r}"
        raise KitaruUsageError(message)
    return found  # pyright: ignore[reportUnknownVariableType] - whatever JSON has
