"""`kitaru executions logs`."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Literal

from cyclopts import Parameter

from kitaru.cli.output import OutputFormat, is_terminal, print_items, print_note, print_text
from kitaru.client import Execution, ExecutionStatus, KitaruClient, LogEntry, shapes
from kitaru.errors import KitaruError, KitaruUsageError

_LOOK_SECONDS = 0.3
_LATE_SECONDS = 0.6  # what was printed before a question may be shown so much later
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
        grouped: Put the lines of each call together; with --follow, say whenever another call writes.
        verbosity: Once for time and level, twice for the logger as well.
    """
    if grouped and output == "json":
        message = "`--grouped` cannot be combined with `--output json`."
        raise KitaruUsageError(message)
    executions = KitaruClient().executions
    if follow:
        _follow(
            executions.get(exec_id).exec_id,
            checkpoint=checkpoint,
            source=source,
            limit=limit,
            printer=_Following(verbosity, output, grouped=grouped),
        )
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


class _Following:
    """Prints what an execution tells while it runs; several threads may tell it."""

    def __init__(self, verbosity: int, output: OutputFormat, *, grouped: bool) -> None:
        self._verbosity = verbosity
        self._output = output
        self._grouped = grouped
        self._group: str | None = ""
        self._asked_since: dict[str, float] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def line(self, entry: LogEntry) -> None:
        with self._lock:
            if self._output == "json":
                _print_event("log", shapes.log_entry(entry))
                return
            if self._grouped and entry.checkpoint_name != self._group:
                _print_heading(entry.checkpoint_name, is_first=self._group == "")
                self._group = entry.checkpoint_name
            _print_lines([entry], self._verbosity)

    def waits(self, execution: Execution) -> None:
        """Say once for each question that it is open."""
        with self._lock:
            for wait in execution.pending_waits:
                since = self._asked_since.setdefault(wait.wait_id, time.monotonic())
                if wait.wait_id in self._told or time.monotonic() - since < _LATE_SECONDS:
                    continue
                self._told.add(wait.wait_id)
                if self._output == "json":
                    item = {"wait_id": wait.wait_id, "wait_name": wait.name}
                    _print_event("waiting", {**item, "question": wait.question})
                else:
                    print_note(f"[Execution is waiting for input on: {wait.wait_id}]")


def _follow(
    exec_id: str,
    *,
    checkpoint: str | None,
    source: Literal["step", "runner"] | None,
    limit: int | None,
    printer: _Following,
) -> None:
    """Print lines as they come, and questions beside them."""
    client = KitaruClient()
    ended = threading.Event()

    def look_for_questions() -> None:
        while not ended.wait(_LOOK_SECONDS):
            with suppress(KitaruError):  # whoever reads the lines is told
                printer.waits(client.executions.get(exec_id))

    thread = threading.Thread(target=look_for_questions, name="kitaru-questions", daemon=True)
    thread.start()
    try:
        for entry in client.executions.logs(
            exec_id, checkpoint=checkpoint, source=source, limit=limit, follow=True
        ):
            printer.line(entry)
    finally:
        ended.set()
        thread.join()


def _print_event(event: str, item: dict[str, object]) -> None:
    line = {"command": "executions.logs", "event": event, "item": item}
    print_text(json.dumps(line, ensure_ascii=False))


def _print_end(execution: Execution, output: OutputFormat) -> None:
    from kitaru.cli.progress import check_completed

    if not execution.status.is_finished:  # `--limit` was reached
        return
    status = execution.status.value
    if output == "json":
        item = {"status": status, "message": f"execution {status}"}
        if execution.status is ExecutionStatus.FAILED:
            item["recovery_command"] = f"kitaru executions retry {execution.exec_id}"
        _print_event("terminal", dict(item))
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
        _print_heading(name, is_first=number == 0)
        _print_lines(lines, verbosity)


def _print_heading(name: str | None, *, is_first: bool) -> None:
    if not is_first:
        print_text()
    print_text("flow:" if name is None else f"checkpoint: {name}")
