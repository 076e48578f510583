"""`kitaru executions export` and `import`: executions as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kitaru.cli.output import OutputFormat, print_item, print_text, size_text
from kitaru.client import KitaruClient, shapes


def export(
    exec_id: str,
    path: Path,
    *,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    output: OutputFormat = "text",
) -> None:
    """Write an execution and all that belongs to it to one file.

    Args:
        exec_id: Its id, or how the id begins.
        path: The file, by custom with the suffix `.kitaru`.
        overwrite: Replace a file that is there.
    """
    client = KitaruClient()
    found = client.executions.get(exec_id).exec_id
    written = client.executions.export(found, path, overwrite=overwrite)
    size = written.stat().st_size
    if output == "json":
        print_item("executions.export", {"exec_id": found, "path": str(written), "size": size})
    else:
        print_text(f"Exported execution: {found}")
        print_text(f"  File: {written} ({size_text(size)})")


def import_(path: Path, *, output: OutputFormat = "text") -> None:
    """Bring in an execution that was exported, to look at it and to replay it.

    Args:
        path: The file.
    """
    execution = KitaruClient().executions.import_(path)
    if output == "json":
        print_item("executions.import", shapes.execution(execution))
    else:
        print_text(f"Imported execution: {execution.exec_id}")
        print_text(f"  Flow: {execution.flow_name}")
        print_text(f"  Status: {execution.status.value}")
