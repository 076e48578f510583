"""`kitaru executions logs`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from cyclopts import Parameter

from kitaru.cli.output import OutputFormat, is_terminal, print_items, print_note, print_text
from kitaru.client import Execution, ExecutionStatus, KitaruClient, LogEntry, shapes
from kitaru.errors import KitaruUsageError

_CONTROL_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")


def logs(
    exec_id: str,
    *,
    checkpoint: str | None = None,
    source: Literal["step", "runner"] | None = None,
    limit: int | None = None,
    follow: Annotated[bool, Parameter(negative=())] = False,
    grouped: Annotated[bool, Parameter(negative=())] = False,
    verbosity: Annotated[int, Parameter(name=["--verbosity", "-v"], count=True)] = 0,
    output: OutputFormat = "text",
) -> None:
    """Show what an execution printed and logged.

    Args:
        exec_id: Its id, or how the id begins.
        checkpoint: Only this call, by its id, or all calls of this checkpoint, by its name.
        source: Only what checkpoints wrote (step), or the flow's own body (runner).
        limit: At most so many lines, from the start.
        follow: Wait for more until the execution has finished; end with 1 if it failed.
        grouped: Put the lines of each call together.
        verbosity: Once for time and level, twice for the logger as well.
    """
    if grouped and (output == "json" or follow):
        message = "`--grouped` cannot be combined with `--output json` or `--follow`."
        raise KitaruUsageError(message)
    executions = KitaruClient().executions
    if follow:
        lines = executions.logs(
            exec_id, checkpoint=checkpoint, source=source, limit=limit, follow=True
        )
        _print_following(lines, verbosity, output)
        _print_end(executions.get(exec_id), output)
        return
    entries = executions.logs(exec_id, checkpoint=checkpoint, source=source, limit=limit)
    if output == "json":
        print_items("executions.logs", [shapes.log_entry(entry) for entry in entries])
    elif not entries:
        print_text(f"No log entries found for execution {exec_id}.")
    elif grouped:
        _print_grouped(entries, verbosity)
    else:
        _print_lines(entries, verbosity)


def _print_following(lines: Iterable[LogEntry], verbosity: int, output: OutputFormat) -> None:
    for entry in lines:
        if output == "json":
            shape = shapes.log_entry(entry)
            line = {"command": "executions.logs", "event": "log", "item": shape}
            print_text(json.dumps(line, ensure_ascii=False))
        else:
            _print_lines([entry], verbosity)


def _print_end(execution: Execution, output: OutputFormat) -> None:
    from kitaru.cli.progress import check_completed

    if not execution.status.is_finished:  # `--limit` was reached
        return
    status = execution.status.value
    if output == "json":
        item = {"status": status, "message": f"execution {status}"}
        if execution.status is ExecutionStatus.FAILED:
            item["recovery_command"] = f"kitaru executions retry {execution.exec_id}"
        print_text(json.dumps({"command": "executions.logs", "event": "terminal", "item": item}))
    elif execution.status.is_successful:
        print_note("[Execution completed successfully]")
    check_completed(execution)


def _print_lines(entries: Iterable[LogEntry], verbosity: int) -> None:
    for entry in entries:
        words = [entry.message if is_terminal() else _CONTROL_SEQUENCE.sub("", entry.message)]
        if verbosity > 1 and entry.logger is not None:
            words.insert(0, f"[{entry.logger}]")
        if verbosity > 0:
            level = entry.level or entry.source.upper()
            words.insert(0, f"{entry.timestamp:%Y-%m-%d %H:%M:%S.%f} {level:<7}")
        print_text(" ".join(words))


def _print_grouped(entries: Iterable[LogEntry], verbosity: int) -> None:
    groups: dict[str | None, list[LogEntry]] = {}
    for entry in entries:
        groups.setdefault(entry.checkpoint_name, []).append(entry)
    for number, (name, lines) in enumerate(groups.items()):
        if number:
            print_text()
        print_text("flow:" if name is None else f"checkpoint: {name}")
        _print_lines(lines, verbosity)
