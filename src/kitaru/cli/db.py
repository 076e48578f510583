"""`kitaru db`: look after the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru.cli.output import OutputFormat, print_item, print_note, print_text, size_text
from kitaru.client import KitaruClient, Space
from kitaru.errors import KitaruBackendError


def verify(*, output: OutputFormat = "text") -> None:
    """Check that everything kept is whole: the store, and the large values it names."""
    upkeep = KitaruClient().upkeep
    problems = upkeep.verify()
    if output == "json":
        item = {"store": upkeep.store_url, "healthy": not problems, "problems": problems}
        print_item("db.verify", item)
    else:
        print_text(f"Checked {upkeep.store_url}")
        for problem in problems or ["nothing is wrong"]:
            print_text(f"  {problem}")
    if problems:
        count = "1 thing is" if len(problems) == 1 else f"{len(problems)} things are"
        message = f"{count} wrong with the store {upkeep.store_url}."
        raise KitaruBackendError(message)


def migrate(*, output: OutputFormat = "text") -> None:
    """Bring the store to what this version needs; make it if there is none."""
    upkeep = KitaruClient().upkeep
    upkeep.migrate()
    if output == "json":
        print_item("db.migrate", {"store": upkeep.store_url, "up_to_date": True})
    else:
        print_text(f"Up to date: {upkeep.store_url}")


def shrink(*, output: OutputFormat = "text") -> None:
    """Give free space in the store's file back to the disk; runs wait for it meanwhile."""
    upkeep = KitaruClient().upkeep
    if output == "text":
        print_note("Writing the store's file anew; whoever else writes waits until it is done.")
    before, after = upkeep.shrink()
    if output == "json":
        item = {
            "store": upkeep.store_url,
            "before": space_item(before),
            "after": space_item(after),
        }
        print_item("db.shrink", item)
    else:
        print_text(f"Shrunk {upkeep.store_url}")
        print_text(f"  before: {space_text(before)}")
        print_text(f"  after: {space_text(after)}")


def backup(
    folder: Annotated[Path, Parameter(help="A folder that is not there yet.")],
    /,
    *,
    output: OutputFormat = "text",
) -> None:
    """Copy the store and the large values it names to a new folder, while runs go on."""
    made = KitaruClient().upkeep.back_up(folder)
    item = {"folder": str(made.folder), "blobs": made.blobs, "total_bytes": made.total_bytes}
    if output == "json":
        print_item("db.backup", item)
    else:
        values = f"the store and {_count(made.blobs)}"
        print_text(f"Backed up {values}, {size_text(made.total_bytes)}: {made.folder}")


def restore(
    folder: Annotated[Path, Parameter(help="What `kitaru db backup` has written.")],
    /,
    *,
    force: Annotated[
        bool, Parameter(negative=(), help="Replace a store that has executions; they are lost.")
    ] = False,
    output: OutputFormat = "text",
) -> None:
    """Replace the store by a backup, which is checked first."""
    upkeep = KitaruClient().upkeep
    done = upkeep.restore(folder, force=force)
    item = {
        "folder": str(done.folder),
        "store": upkeep.store_url,
        "blobs": done.blobs,
        "total_bytes": done.total_bytes,
    }
    if output == "json":
        print_item("db.restore", item)
    else:
        print_text(f"Restored {upkeep.store_url} with {_count(done.blobs)} from {done.folder}")


def space_item(space: Space) -> dict[str, Any]:
    """Return how much room the store takes, for JSON."""
    return {"file_bytes": space.file_bytes, "free_bytes": space.free_bytes}


def space_text(space: Space) -> str:
    """Return how much room the store takes, for people."""
    return f"{size_text(space.file_bytes)}, of which {size_text(space.free_bytes)} are free inside"


def _count(blobs: int) -> str:
    return "1 large value" if blobs == 1 else f"{blobs} large values"
