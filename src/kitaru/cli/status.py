"""`kitaru status`: what is kept, and where."""

from __future__ import annotations

from typing import Any

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_item, print_text, snapshot
from kitaru.client import ExecutionStatus, KitaruClient
from kitaru.clock import to_datetime
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
        "Attendant": _attendant_text(found),
        "Workers": _workers_text(found),
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


def _attendant_text(found: dict[str, Any]) -> str:
    attendant = found["attendant"]
    if attendant is None:
        return "none (`kitaru up --background` starts one)"
    return f"process {attendant['pid']} since {attendant['started_at']}"


def _workers_text(found: dict[str, Any]) -> str:
    told = [
        f"process {worker['pid']} ({worker['running']} of {worker['concurrency']} running)"
        for worker in found["workers"]
    ]
    return ", ".join(told) or "none"


def _attendant() -> dict[str, Any] | None:
    from kitaru.attendant.instance import find_instance

    found = find_instance(settings.current())
    if found is None:
        return None
    began = to_datetime(found.started_at).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {"pid": found.pid, "started_at": began, "log": found.log}


def _workers() -> list[dict[str, Any]]:
    return [
        {
            "pid": worker.pid,
            "project": worker.project,
            "stack": worker.stack,
            "flows": list(worker.flows),
            "concurrency": worker.concurrency,
            "running": worker.running,
        }
        for worker in KitaruClient().upkeep.list_workers()
    ]


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
        "attendant": _attendant(),
        "workers": [] if damage else _workers(),
        "damage": damage,
        "environment": [
            {"name": name, "value": value} for name, value in settings.environment().items()
        ],
    }
