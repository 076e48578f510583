"""`kitaru executions`: look executions up and act on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from kitaru.cli.execution_files import export, import_
from kitaru.cli.execution_input import input_
from kitaru.cli.execution_insight import diff, statistics, why
from kitaru.cli.execution_logs import logs
from kitaru.cli.execution_replay import replay, resume
from kitaru.cli.output import (
    OutputFormat,
    moment_text,
    print_item,
    print_items,
    print_text,
    table,
)
from kitaru.client import Execution, ExecutionStatus, KitaruClient, shapes
from kitaru.errors import KitaruUsageError

# Whoever has more wants to know that there are many, and not to wait for how many.
_MOST_COUNTED = 10_000

__all__ = [
    "cancel", "delete", "diff", "export", "get", "import_", "input_", "list_", "logs", "recover", "replay",
    "resume", "retry", "statistics", "watch", "why",
]  # fmt: skip


def list_(
    *,
    status: str | None = None,
    flow: str | None = None,
    stack: str | None = None,
    tag: str | None = None,
    page: int = 1,
    size: int = 20,
    output: OutputFormat = "text",
) -> None:
    """List executions, newest first.

    Args:
        status: Only pending, running, waiting, completed, failed or cancelled ones.
        flow: Only of this flow.
        stack: Only on this stack.
        tag: Only with this tag.
        page: Which page, from 1.
        size: Executions per page.
    """
    client = KitaruClient()
    found = client.executions.list(
        flow=flow, status=status, stack=stack, tag=tag, page=page, size=size
    )
    if output == "json":
        print_items("executions.list", [shapes.execution_summary(execution) for execution in found])
        return
    _print_table(found)
    total = client.executions.count(
        flow=flow, status=status, stack=stack, tag=tag, at_most=_MOST_COUNTED
    )
    if page > 1 or total > len(found):
        more = f"{total:,} or more" if total == _MOST_COUNTED else total
        print_text(f"Page {page} (size {size}, showing {len(found)} of {more})")


def _print_table(found: list[Execution]) -> None:
    header = ("ID", "Flow", "Status", "Started", "Ended", "Stack")
    rows = [
        (
            execution.exec_id,
            execution.flow_name or "-",
            _status_of(execution),
            moment_text(execution.started_at),
            moment_text(execution.ended_at),
            execution.stack_name or "-",
        )
        for execution in found
    ]
    print_text(table("Kitaru executions", header, rows))


def _status_of(execution: Execution) -> str:
    if execution.status is ExecutionStatus.PENDING and execution.status_reason is not None:
        return f"pending ({execution.status_reason})"
    if execution.status is not ExecutionStatus.WAITING:
        return execution.status.value
    asked = ", ".join(wait.wait_id for wait in execution.pending_waits)
    # A sleep, or an execution that is waited for, has only a reason.
    return f"waiting for {asked}" if asked else execution.status_reason or "waiting"


def get(exec_id: str, *, output: OutputFormat = "text") -> None:
    """Show an execution with its checkpoints.

    Args:
        exec_id: Its id, or how the id begins.
    """
    execution = KitaruClient().executions.get(exec_id)
    if output == "json":
        print_item("executions.get", shapes.execution(execution))
        return
    from kitaru.cli.showing import show_execution

    show_execution(execution)


def watch(exec_id: str, *, output: OutputFormat = "text") -> None:
    """Show an execution until it has finished.

    Args:
        exec_id: Its id, or how the id begins.
    """
    from kitaru.cli.progress import check_completed, follow_anywhere, wait_quietly

    client = KitaruClient()
    if output == "json":
        print_item("executions.watch", shapes.execution(wait_quietly(client, exec_id)))
        return
    check_completed(follow_anywhere(client, exec_id))


def retry(exec_id: str, *, output: OutputFormat = "text") -> None:
    """Continue a failed execution here, and print its result.

    Args:
        exec_id: Its id, or how the id begins.
    """
    from kitaru.cli.progress import follow_here, result_alone_on_stdout
    from kitaru.cli.run import show_end

    client = KitaruClient()
    with result_alone_on_stdout(output):
        [execution] = follow_here(client, lambda: [client.executions.retry(exec_id).exec_id])
    show_end("executions.retry", execution, output)


def recover(
    *exec_ids: str,
    everything: Annotated[bool, Parameter(name="--all", negative=())] = False,
    output: OutputFormat = "text",
) -> None:
    """Continue interrupted executions here, and wait for them.

    Args:
        exec_ids: Their ids, or how the ids begin; all of the project that are interrupted or pending
            if none is given.
        everything: The same as to give no id.
    """
    from kitaru.cli.progress import check_completed, follow_here, result_alone_on_stdout

    if everything and exec_ids:
        message = "`--all` takes every interrupted execution: leave out the ids, or `--all`."
        raise KitaruUsageError(message)
    client = KitaruClient()
    with result_alone_on_stdout(output):
        ended = follow_here(client, lambda: _recover(client, exec_ids))
    if output == "json":
        print_items("executions.recover", [shapes.execution(execution) for execution in ended])
    elif ended:
        _print_table(ended)
    else:
        print_text("There is nothing to recover.")
    for execution in ended:
        if execution.status is not ExecutionStatus.WAITING:
            check_completed(execution)


def _recover(client: KitaruClient, exec_ids: Sequence[str]) -> list[str]:
    if not exec_ids:
        return [execution.exec_id for execution in client.executions.recover()]
    return [client.executions.recover(exec_id).exec_id for exec_id in exec_ids]


def cancel(exec_id: str, *, output: OutputFormat = "text") -> None:
    """Ask for an execution to be cancelled.

    Args:
        exec_id: Its id, or how the id begins.
    """
    execution = KitaruClient().executions.cancel(exec_id)
    if output == "json":
        print_item("executions.cancel", shapes.execution(execution))
    elif execution.status.is_finished:
        print_text(f"Cancelled execution: {execution.exec_id}")
        print_text(f"  Status: {execution.status.value}")
    else:
        print_text(f"Asked execution to stop: {execution.exec_id}")
        print_text(f"  Status: {execution.status.value}")


def delete(exec_id: str, *, output: OutputFormat = "text") -> None:
    """Remove a finished execution and all that it has kept.

    Args:
        exec_id: Its id, or how the id begins.
    """
    client = KitaruClient()
    found = client.executions.get(exec_id).exec_id
    client.executions.delete(found)
    if output == "json":
        print_item("executions.delete", {"exec_id": found, "deleted": True})
    else:
        print_text(f"Deleted execution: {found}")
