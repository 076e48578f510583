"""`kitaru down`: stop what `kitaru up` started."""

from __future__ import annotations

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_item, print_text


def down(*, output: OutputFormat = "text") -> None:
    """Stop the store's attendant. Executions that run go on."""
    from kitaru.attendant import serving

    present = settings.current()
    stopped = serving.stop_instance(present)
    if output == "json":
        print_item("down", {"pid": None if stopped is None else stopped.pid})
    elif stopped is None:
        print_text("There is no attendant to stop.")
    else:
        print_text(f"Attendant {stopped.pid} stopped.")
