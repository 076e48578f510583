"""An execution as text: plain lines for pipes and files, a coloured tree for terminals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from kitaru.cli.output import is_terminal, moment_text, print_text, snapshot, span_text
from kitaru.cli.tree import STYLES, Node, failure_line, nodes_of, wait_line
from kitaru.client import Execution, ExecutionStatus, PendingWait
from kitaru.client.wording import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text
    from rich.tree import Tree

_MARKS = {
    "completed": "\N{CHECK MARK}",
    "failed": "\N{BALLOT X}",
    "running": "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}",
    "cancelled": "\N{MULTIPLICATION SIGN}",
}


def show_execution(execution: Execution) -> None:
    """Print an execution on stdout as the reader can take it."""
    if is_terminal():
        from rich.console import Console

        Console(highlight=False).print(tree_of(execution))
    else:
        print_text(text_of(execution))
    if commands := list(_answer_commands(execution)):
        print_text("\n".join(["", "Answer with", *(f"  {command}" for command in commands)]))


def text_of(execution: Execution) -> str:
    """Return an execution as plain text."""
    lines = [snapshot("Kitaru execution", facts_of(execution))]
    if execution.failure is not None and execution.failure.traceback:
        lines += ["", "Traceback", *_indented(execution.failure.traceback)]
    nodes = nodes_of(execution.checkpoints, _remarks(execution, {}))
    if nodes:
        width = max(len(name) for name, _, _ in _flat(nodes, 1))
        lines += ["", "Checkpoints"]
        for name, status, note in _flat(nodes, 1):
            lines.append(f"{name:<{width}}   {status:<9}   {note}".rstrip())
    return "\n".join(lines)


def facts_of(execution: Execution) -> dict[str, object]:
    """Return what stands above an execution's checkpoints, by label."""
    status = execution.status.value
    if execution.duration is not None:
        status += f" in {span_text(execution.duration)}"
    facts: dict[str, object] = {
        "Execution ID": execution.exec_id,
        "Flow": execution.flow_name,
        "Status": status,
    }
    if execution.pending_waits:
        facts["Waits for"] = ", ".join(map(_asked, execution.pending_waits))
    elif execution.status_reason:
        facts["Reason"] = execution.status_reason
    if execution.failure is not None:
        facts["Failure"] = failure_line(
            execution.failure.exception_type, execution.failure.message, limit=200
        )
    if execution.cancel_requested_at is not None:
        is_cancelled = execution.status is ExecutionStatus.CANCELLED
        by = f" by {execution.cancel_requested_by}" if execution.cancel_requested_by else ""
        facts["Cancelled" if is_cancelled else "Cancel requested"] = (
            moment_text(execution.cancel_requested_at) + by
        )
    facts["Started"] = moment_text(execution.started_at)
    facts["Ended"] = moment_text(execution.ended_at)
    facts["Stack"] = execution.stack_name
    if execution.original_exec_id is not None:
        facts["Replays"] = execution.original_exec_id
    if execution.parent_exec_id is not None:
        facts["Parent"] = execution.parent_exec_id
    if execution.tags:
        facts["Tags"] = ", ".join(execution.tags)
    if execution.recoveries:
        facts["Recoveries"] = execution.recoveries
    facts |= {f"Metadata {key}": value for key, value in execution.metadata.items()}
    return facts


def _asked(wait: PendingWait) -> str:
    return f"{wait.wait_id} ({one_line(wait.question)})" if wait.question else wait.wait_id


def _answer_commands(execution: Execution) -> Iterator[str]:
    """Return the commands that answer its open questions."""
    positions = {call.call_id: call.position for call in execution.checkpoints}
    names = Counter(name for wait in execution.pending_waits for name in {wait.name, wait.wait_id})
    for wait in execution.pending_waits:
        from kitaru.client.waiting import answer_command

        schema = None if wait.schema is None else json.dumps(wait.schema)
        is_plain = names[wait.wait_id] == 1
        selector = wait.wait_id if is_plain else positions.get(wait.wait_id, wait.wait_id)
        yield answer_command(execution.exec_id, selector, schema)


def _remarks(execution: Execution, told: Mapping[str, str]) -> dict[str, str]:
    """Return what there is to say of its calls besides what they tell themselves, by call id."""
    return {**{wait.wait_id: wait_line(wait) for wait in execution.waits}, **told}


def _flat(nodes: Sequence[Node], depth: int) -> Iterator[tuple[str, str, str]]:
    for node in nodes:
        status = "" if node.status is None else node.status.value
        yield "  " * depth + node.name, status, node.note
        yield from _flat(node.children, depth + 1)


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.rstrip().splitlines()]


def tree_of(execution: Execution, told: Mapping[str, str] = MappingProxyType({})) -> RenderableType:
    """Return an execution for a terminal.

    Args:
        execution: The execution.
        told: What its running calls have told last, by call id; the flow's own body is ''.
    """
    from rich.console import Group
    from rich.text import Text
    from rich.tree import Tree

    style = STYLES[execution.status]
    top = Text.assemble((f"{execution.flow_name}", "bold"), "  ", (execution.status.value, style))
    if "" in told:
        top.append(f"  {told['']}", "dim")
    facts = facts_of(execution)
    del facts["Flow"]
    width = max(map(len, facts))
    head = Text(no_wrap=False)
    for label, value in facts.items():
        head.append(f"  {label:<{width}}  ", "dim")
        head.append(f"{value}\n", style if label in {"Status", "Failure"} else "")
    tree = Tree(top, guide_style="dim", hide_root=False)
    _grow(tree, nodes_of(execution.checkpoints, _remarks(execution, told)))
    parts: list[RenderableType] = [head]
    if execution.failure is not None and execution.failure.traceback:
        parts.append(Text(execution.failure.traceback.rstrip() + "\n", "dim"))
    return Group(*parts, tree)


def _grow(tree: Tree, nodes: Sequence[Node]) -> None:
    for node in nodes:
        _grow(tree.add(_label(node)), node.children)


def _label(node: Node) -> Text:
    from rich.text import Text

    if node.status is None:
        return Text.assemble((node.name, "bold"), "  ", (node.note, "dim"))
    mark = _MARKS.get(node.status.value, "\N{MIDDLE DOT}")
    return Text.assemble(
        (f"{mark} ", STYLES[node.status]), node.name, "  ", (f"{node.note}", "dim")
    )
