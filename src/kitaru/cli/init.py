"""`kitaru init`: make a project."""

from __future__ import annotations

from pathlib import Path

from kitaru.cli.output import OutputFormat, print_item, print_text
from kitaru.client.project import make_project


def init(path: Path = Path(), *, output: OutputFormat = "text") -> None:
    """Make a project: runs started below the folder are kept in it.

    Args:
        path: The folder, made if need be; the present one if not given.
    """
    made = make_project(path)
    if output == "json":
        print_item("init", {"project_folder": str(made.folder), "created": made.created})
    elif made.created:
        print_text(f"Made a Kitaru project: {made.folder}")
        print_text(f"  Runs started in {made.folder.parent} are kept there.")
    else:
        print_text(f"Already a Kitaru project: {made.folder}")
