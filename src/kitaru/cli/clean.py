"""`kitaru clean`: remove what is kept; configuration stays."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from kitaru import settings
from kitaru.cli.clean_executions import clean_executions
from kitaru.cli.output import OutputFormat, print_item, print_note, print_text, size_text
from kitaru.client.cleaning import Removal, Scope, plan_removal, refuse_unfinished, remove
from kitaru.errors import KitaruStateError, KitaruUsageError

DryRun = Annotated[bool, Parameter(negative=(), help="Only show what would be removed.")]
Force = Annotated[
    bool, Parameter(negative=(), help="Discard executions too that could still be continued.")
]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative=(), help="Do not ask.")]


def executions(
    *,
    older_than: Annotated[
        str | None, Parameter(help="Only what ended longer ago: 90s, 15m, 12h, 30d, 2w.")
    ] = None,
    status: Annotated[
        list[str] | None,
        Parameter(
            negative=(), help="Only what ended so: completed, failed, cancelled. Repeatable."
        ),
    ] = None,
    flow: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Only of these flows; * stands for anything. Repeatable."),
    ] = None,
    keep: Annotated[int | None, Parameter(help="Keep so many of each flow, the newest.")] = None,
    project: Annotated[
        str | None, Parameter(help="Only of this project; without it, of all.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputFormat = "text",
) -> None:
    """Remove finished executions that are old or too many; without options, what is configured."""
    clean_executions(
        older_than=older_than,
        status=status or [],
        flow=flow or [],
        keep=keep,
        project=project,
        dry_run=dry_run,
        yes=yes,
        output=output,
    )


def project(
    *,
    dry_run: DryRun = False,
    force: Force = False,
    yes: Yes = False,
    output: OutputFormat = "text",
) -> None:
    """Remove what the project here has kept."""
    _clean("project", dry_run=dry_run, force=force, yes=yes, output=output)


def global_(
    *,
    dry_run: DryRun = False,
    force: Force = False,
    yes: Yes = False,
    output: OutputFormat = "text",
) -> None:
    """Remove what is kept in the user's own folder."""
    _clean("global", dry_run=dry_run, force=force, yes=yes, output=output)


def all_(
    *,
    dry_run: DryRun = False,
    force: Force = False,
    yes: Yes = False,
    output: OutputFormat = "text",
) -> None:
    """Remove what is kept in the project here and in the user's own folder."""
    _clean("all", dry_run=dry_run, force=force, yes=yes, output=output)


def _refuse_attended(removal: Removal) -> None:
    from kitaru.attendant.instance import find_instance

    for path in removal.paths:
        if path.suffix == ".db":
            found = find_instance(settings.current().having(store_url=settings.sqlite_url(path)))
            if found is not None:
                message = (
                    f"attendant {found.pid} looks after '{path}'. Stop it first: `kitaru down`. It would go"
                    f" on with a file that is gone."
                )
                raise KitaruStateError(message)


def _clean(scope: Scope, *, dry_run: bool, force: bool, yes: bool, output: OutputFormat) -> None:
    removal = plan_removal(scope)
    if not dry_run:
        _refuse_attended(removal)
    if not (dry_run or force):
        refuse_unfinished(removal)
    agreed = dry_run or yes or not removal.paths or _is_agreed(removal)
    if agreed and not dry_run:
        remove(removal)
    if output == "json":
        paths = [str(path) for path in removal.paths]
        removed = paths if agreed and not dry_run else []
        item = {
            "scope": scope,
            "dry_run": dry_run,
            "aborted": not agreed,
            "deleted_paths": removed,
            "preview": paths,
            "unfinished": list(removal.unfinished),
            "total_bytes": removal.total_bytes,
        }
        print_item(f"clean.{scope}", item)
    else:
        print_text(_summary(removal, dry_run=dry_run, agreed=agreed))


def _is_agreed(removal: Removal) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        message = "`--yes` is needed where nobody can be asked."
        raise KitaruUsageError(message)
    lines = ["These will be removed:", *(f"  {path}" for path in removal.paths)]
    print_note("\n".join([*lines, *_unfinished_lines(removal)]))
    sys.stderr.write(f"Remove {size_text(removal.total_bytes)}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _summary(removal: Removal, *, dry_run: bool, agreed: bool) -> str:
    if not agreed:
        return "Nothing was removed."
    if not removal.paths:
        return "There is nothing to remove."
    verb = "Would remove" if dry_run else "Removed"
    paths = [f"  {path}" for path in removal.paths]
    head = f"{verb} {size_text(removal.total_bytes)}:"
    return "\n".join([head, *paths, *(_unfinished_lines(removal) if dry_run else [])])


def _unfinished_lines(removal: Removal) -> list[str]:
    if not removal.unfinished:
        return []
    return [
        "Executions that are not over would be lost:",
        *(f"  {exec_id}" for exec_id in removal.unfinished),
    ]
