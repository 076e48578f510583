"""`kitaru db`: look after the store."""

from __future__ import annotations

from kitaru.cli.output import OutputFormat, print_item, print_text
from kitaru.client import KitaruClient
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
