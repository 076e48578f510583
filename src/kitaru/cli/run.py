"""`kitaru run`: start a flow in this process and show its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru.cli.output import OutputFormat, print_item, print_text
from kitaru.client import Execution
from kitaru.errors import KitaruNotFoundError, KitaruUsageError


def run(
    target: str,
    *,
    inputs: Annotated[str | None, Parameter(name="--input")] = None,
    stack: str | None = None,
    idempotency_key: str | None = None,
    output: OutputFormat = "text",
) -> None:
    """Run a flow here and print its result.

    Ctrl-C stops it at its next checkpoint; `kitaru executions recover` continues it.

    Args:
        target: The flow: `package.module:flow` or `path/to/file.py:flow`.
        inputs: Its arguments as a JSON object, or `@file` with one.
        stack: Where it runs.
        idempotency_key: Return the execution that was started with this key before, if there is one.
    """
    from kitaru import worker
    from kitaru.cli.progress import check_completed, follow_here, result_alone_on_stdout
    from kitaru.client import KitaruClient

    options = {"stack": stack, "idempotency_key": idempotency_key}
    given = {name: value for name, value in options.items() if value is not None}
    arguments = _arguments(inputs)
    with result_alone_on_stdout(output):
        flow = _load_flow(target)
        [execution] = follow_here(KitaruClient(), lambda: [worker.start(flow, arguments, **given)])
    check_completed(execution)
    show_result("run", execution, output)


def show_result(command: str, execution: Execution, output: OutputFormat) -> None:
    """Print a completed execution's result.

    In text mode a string is printed as it is, everything else as JSON; in JSON mode the result is a
    part of its execution.
    """
    from kitaru.client import shapes

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


def _arguments(text: str | None) -> dict[str, Any]:
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
        message = f"expected `--input` to be a JSON object, got: {text[:80]!r} ({error})"
        raise KitaruUsageError(message) from error
    if not isinstance(found, dict):
        message = f"expected `--input` to be a JSON object, got: {text[:80]!r}"
        raise KitaruUsageError(message)
    return found  # pyright: ignore[reportUnknownVariableType] - whatever JSON has
