"""`kitaru status`: what is kept, and where."""

from __future__ import annotations

from typing import Any

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_item, print_text, snapshot
from kitaru.client import ExecutionStatus, KitaruClient
from kitaru.errors import KitaruBackendError


def status(*, output: OutputFormat = "text") -> None:
    """Show what is kept, and where."""
    found = status_shape()
    if output == "json":
        print_item("status", found)
        return
    facts = {
        "SDK version": found["sdk_version"],
        "Connection": found["connection"],
        "Store": found["connection_target"],
        "Large values": found["artifact_store"],
        "Config directory": found["config_directory"],
        "Project": found["active_project"],
        "Stack": found["active_stack"],
        "Executions": executions_text(found),
        "Open waits": _waits_text(found),
    }
    print_text(snapshot("Kitaru status", facts))
    if found["environment"]:
        named = {entry["name"]: entry["value"] for entry in found["environment"]}
        print_text("\n" + snapshot("Environment", named))


def executions_text(found: dict[str, Any]) -> str:
    """Return how many executions there are, or why that cannot be told."""
    if found["damage"]:
        return f"damaged: {found['damage'][0]} (`kitaru db verify` tells more)"
    counts = [f"{count} {name}" for name, count in found["executions"].items() if count]
    return ", ".join(counts) or "none"


def _waits_text(found: dict[str, Any]) -> str:
    count = found["open_waits"]
    if count is None:
        return "not known"
    return f"{count} (answer with `kitaru executions input --interactive`)" if count else "none"


def _counts() -> tuple[dict[str, int], int | None, list[str]]:
    """Return how many executions there are by status, how many open waits, and what is damaged."""
    client = KitaruClient()
    try:
        counts = {
            status.value: client.executions.count(status=status) for status in ExecutionStatus
        }
        return counts, len(client.waits.list()), []
    except KitaruBackendError:
        if damage := client.upkeep.verify():
            return {}, None, damage
        raise


def status_shape() -> dict[str, Any]:
    """Return what `status` shows, as JSON-like values."""
    from kitaru import __version__

    current = settings.current()
    project = settings.find_project()
    counts, open_waits, damage = _counts()
    return {
        "sdk_version": __version__,
        "connection": "embedded store",
        "connection_target": settings.masked_url(current.store_url),
        "artifact_store": settings.masked_url(current.artifact_store),
        "config_directory": str(current.config_dir),
        "repository_root": None if project is None else str(project.parent),
        "active_project": current.project,
        "active_stack": current.stack,
        "executions": counts,
        "open_waits": open_waits,
        "damage": damage,
        "environment": [
            {"name": name, "value": value} for name, value in settings.environment().items()
        ],
    }
