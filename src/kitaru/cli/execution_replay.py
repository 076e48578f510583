"""`kitaru executions replay` and `resume`: go on with an execution here, or start one from its record."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from kitaru.cli.output import OutputFormat
from kitaru.cli.run import arguments_of, show_end
from kitaru.client import KitaruClient


def replay(
    exec_id: str,
    *,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    at: str | None = None,
    args: str | None = None,
    overrides: str | None = None,
    output: OutputFormat = "text",
) -> None:
    """Start a new execution here from an old one's record, and print its result.

    What neither is selected nor follows from what is selected, overridden or changed is not run again.

    Args:
        exec_id: The old execution's id, or how the id begins.
        from_: Run this call again and what follows from it: a call id, a position, or the name of a
            checkpoint or wait that was called once.
        at: The same as --from.
        args: Flow arguments to change, as a JSON object, or `@file` with one.
        overrides: Values in place of recorded ones, as a JSON object, or `@file` with one:
            {"checkpoint.research": "my notes", "wait.approve": true}.
    """
    from kitaru.cli.progress import follow_here, result_alone_on_stdout

    client = KitaruClient()
    inputs = arguments_of(args, "--args")
    replaced = arguments_of(overrides, "--overrides")
    with result_alone_on_stdout(output):
        [execution] = follow_here(
            client,
            lambda: [
                client.executions.replay(
                    exec_id, from_=from_, at=at, overrides=replaced, **inputs
                ).exec_id
            ],
        )
    show_end("executions.replay", execution, output)


def resume(exec_id: str, *, output: OutputFormat = "text") -> None:
    """Continue an execution here that waits for nothing any more, and print its result.

    Args:
        exec_id: Its id, or how the id begins.
    """
    from kitaru.cli.progress import follow_here, result_alone_on_stdout

    client = KitaruClient()
    with result_alone_on_stdout(output):
        [execution] = follow_here(client, lambda: [client.executions.resume(exec_id).exec_id])
    show_end("executions.resume", execution, output)
