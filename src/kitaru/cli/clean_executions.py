"""`kitaru clean executions`: what retention lets go, asked for or configured."""

from __future__ import annotations

import sys
from typing import Any

from kitaru.cli.db import space_item, space_text
from kitaru.cli.output import OutputFormat, print_item, print_note, print_text, size_text, table
from kitaru.client import KitaruClient, Pruned, PrunedGroup, RetentionRule
from kitaru.errors import KitaruUsageError
from kitaru.retention import read_rules


def clean_executions(
    *,
    older_than: str | None,
    status: list[str],
    flow: list[str],
    keep: int | None,
    project: str | None,
    dry_run: bool,
    yes: bool,
    output: OutputFormat,
) -> None:
    """Remove, or show, what one rule from the command line or the configured ones let go."""
    upkeep = KitaruClient().upkeep
    rules = _rules(older_than, status, flow, keep)
    plan = upkeep.plan_pruning(rules, project=project)
    if dry_run:
        if output == "json":
            print_item("clean.executions", {"dry_run": True, **_item(plan, is_plan=True)})
        else:
            print_text(_plan_text(plan))
        return
    if plan.groups and not (yes or _is_agreed(plan)):
        if output == "json":
            print_item("clean.executions", {"dry_run": False, "aborted": True})
        else:
            print_text("Nothing was removed.")
        return
    done = upkeep.prune(rules, project=project)
    space = upkeep.measure()
    if output == "json":
        item = {"dry_run": False, "aborted": False, **_item(done, is_plan=False)}
        print_item("clean.executions", {**item, "space": space_item(space)})
    else:
        print_text(_done_text(done))
        print_text(f"The store's file: {space_text(space)}")


def _rules(
    older_than: str | None, status: list[str], flow: list[str], keep: int | None
) -> list[RetentionRule] | None:
    given: dict[str, object] = {}
    if older_than is not None:
        given["older_than"] = older_than
    if keep is not None:
        given["keep"] = keep
    if not given and (status or flow):
        message = (
            "`--status` and `--flow` need `--older-than` or `--keep` beside them, as in"
            " `kitaru clean executions --older-than 30d --status completed`."
        )
        raise KitaruUsageError(message)
    if not given:
        return None
    if status:
        given["statuses"] = status
    return list(read_rules([{**given, "flows": flow}], "the options"))


def _is_agreed(plan: Pruned) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        message = "`--yes` is needed where nobody can be asked."
        raise KitaruUsageError(message)
    print_note(_plan_text(plan))
    sys.stderr.write(f"Remove {_executions(plan)}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _plan_text(plan: Pruned) -> str:
    if not plan.groups:
        return "There is nothing to remove."
    header = (
        "Project",
        "Flow",
        "Status",
        "Executions",
        "With children",
        "In the store",
        "Large values",
    )
    rows = [
        [*_cells(group), size_text(group.inline_bytes), size_text(group.blob_bytes)]
        for group in plan.groups
    ]
    total = table(f"Would remove {_executions(plan)}", header, rows)
    return (
        f"{total}\nExecutions that something unfinished needs stay. Large values go once nothing names them"
        f" and 24 hours have passed."
    )


def _done_text(done: Pruned) -> str:
    lines: list[str] = []
    if done.groups:
        header = ("Project", "Flow", "Status", "Executions", "With children")
        rows = [_cells(group) for group in done.groups]
        lines.append(table(f"Removed {_executions(done)}", header, rows))
    else:
        lines.append("No executions were removed.")
    if done.skipped:
        lines.append(f"{done.skipped} stayed, because something unfinished needs them.")
    lines.append(f"Large values removed: {done.blobs}, {size_text(done.blob_bytes)}")
    return "\n".join(lines)


def _cells(group: PrunedGroup) -> list[str]:
    members = group.executions + group.descendants
    return [group.project, group.flow, group.status.value, str(group.executions), str(members)]


def _executions(pruned: Pruned) -> str:
    return "1 execution" if pruned.executions == 1 else f"{pruned.executions} executions"


def _item(pruned: Pruned, *, is_plan: bool) -> dict[str, Any]:
    groups: list[dict[str, Any]] = []
    for group in pruned.groups:
        item: dict[str, Any] = {
            "project": group.project,
            "flow": group.flow,
            "status": group.status.value,
            "executions": group.executions,
            "descendants": group.descendants,
        }
        if is_plan:
            item |= {"inline_bytes": group.inline_bytes, "blob_bytes": group.blob_bytes}
        groups.append(item)
    found: dict[str, Any] = {"executions": pruned.executions, "groups": groups}
    if not is_plan:
        found |= {"skipped": pruned.skipped, "blobs": pruned.blobs, "blob_bytes": pruned.blob_bytes}
    return found
