"""`kitaru status`: what is kept, and where."""

from __future__ import annotations

from typing import Any

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_item, print_text, snapshot
from kitaru.client import ExecutionStatus, KitaruClient
from kitaru.clock import to_datetime
from kitaru.errors import KitaruBackendError, KitaruError

_MOST_COUNTED = 10_000


def status(*, output: OutputFormat = "text") -> None:
    """Show what is kept, and where."""
    found = status_shape()
    if output == "json":
        print_item("status", found)
        return
    facts = {
        "SDK version": found["sdk_version"],
        "Connection": _connection_text(found),
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


def _number(count: int, most: int | None) -> str:
    return f"{count} or more" if count == most else str(count)


def _connection_text(found: dict[str, Any]) -> str:
    server = found["server"]
    if server is None:
        return found["connection"]
    if server["problem"]:
        return f"server, which cannot be used: {server['problem']}"
    return f"server (Kitaru {server['version']})"


def executions_text(found: dict[str, Any]) -> str:
    """Return how many executions there are, or why that cannot be told."""
    if found["executions"] is None:
        return "not known"
    if found["damage"]:
        return f"damaged: {found['damage'][0]} (`kitaru db verify` tells more)"
    most = found["counted_up_to"]
    counts = [
        f"{_number(count, most)} {name}" for name, count in found["executions"].items() if count
    ]
    return ", ".join(counts) or "none"


def _waits_text(found: dict[str, Any]) -> str:
    count = found["open_waits"]
    if count is None:
        return "not known"
    count = _number(count, found["counted_up_to"]) if count else 0
    return f"{count} (answer with `kitaru executions input --interactive`)" if count else "none"


def _attendant_text(found: dict[str, Any]) -> str:
    attendant = found["attendant"]
    if found["server"] is not None:
        return "the server"
    if attendant is None:
        return "none (`kitaru up --background` starts one)"
    serves = f", serves {attendant['url']}" if attendant["url"] else ""
    return f"process {attendant['pid']} since {attendant['started_at']}{serves}"


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
    return {"pid": found.pid, "started_at": began, "log": found.log, "url": found.url}


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
    at_most = _counted_up_to()
    try:
        counts = {
            status.value: client.executions.count(status=status, at_most=at_most)
            for status in ExecutionStatus
        }
        return counts, client.waits.count(at_most=at_most), []
    except KitaruBackendError:
        # What many share is not damaged because it cannot be reached, and looking at all of it takes long.
        if at_most is None and (damage := client.upkeep.verify()):
            return {}, None, damage
        raise


def _counted_up_to() -> int | None:
    """Return where counting stops: what a team has kept is not counted one by one."""
    is_own = _kind_of(settings.current().store_url) == "embedded store"
    return None if is_own else _MOST_COUNTED


def _kind_of(store_url: str) -> str:
    if settings.is_server(store_url):
        return "server"
    return "embedded store" if store_url.startswith("sqlite:") else "Postgres"


def _server(current: settings.Settings) -> dict[str, Any] | None:
    """Return what is known of the server that keeps executions; None if none does."""
    if not settings.is_server(current.store_url):
        return None
    from kitaru.client.login import ask_server

    try:
        found = ask_server(current, at_a_glance=True)
    except KitaruError as error:
        return {"version": None, "reachable": False, "problem": error.message}
    return {"version": found.version, "reachable": True, "problem": None}


def status_shape() -> dict[str, Any]:
    """Return what `status` shows, as JSON-like values."""
    from kitaru import __version__

    current = settings.current()
    project = settings.find_project()
    server = _server(current)
    counts, open_waits, damage, workers = None, None, list[str](), list[dict[str, Any]]()
    if server is None or not server["problem"]:
        counts, open_waits, damage = _counts()
        workers = [] if damage else _workers()
    return {
        "sdk_version": __version__,
        "connection": _kind_of(current.store_url),
        "server": server,
        "connection_target": settings.masked_url(current.store_url),
        "artifact_store": settings.masked_url(current.artifact_store),
        "config_directory": str(current.config_dir),
        "repository_root": None if project is None else str(project.parent),
        "active_project": current.project,
        "active_stack": current.stack,
        "executions": counts,
        "counted_up_to": _counted_up_to(),
        "open_waits": open_waits,
        "attendant": _attendant(),
        "workers": workers,
        "damage": damage,
        "environment": [
            {"name": name, "value": value} for name, value in settings.environment().items()
        ],
    }
