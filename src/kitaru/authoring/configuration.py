"""`configure` and `connect`: settings for this process."""

from __future__ import annotations

from pathlib import Path

from kitaru import settings
from kitaru.settings import Settings as KitaruConfig


def configure(
    *,
    stack: str | None = None,
    cache: bool | None = None,
    retries: int | None = None,
    project: str | None = None,
    store_url: str | None = None,
    artifact_store: str | None = None,
    config_dir: str | Path | None = None,
    allow_pickle: bool | None = None,
    max_workers: int | None = None,
    capture_logs: bool | None = None,
    attendant: bool | None = None,
) -> KitaruConfig:
    """Set what flows of this process use from now on, and return all settings.

    What is not given stays as it is. Runs that have started are not touched. The environment and
    files stand below these values, a flow's own options above them.

    Raises:
        KitaruUsageError: A value is not acceptable.
    """
    given = {
        "stack": stack,
        "cache": cache,
        "retries": retries,
        "project": project,
        "store_url": store_url,
        "artifact_store": artifact_store,
        "config_dir": config_dir,
        "allow_pickle": allow_pickle,
        "max_workers": max_workers,
        "capture_logs": capture_logs,
        "attendant": attendant,
    }
    return settings.override(**{name: value for name, value in given.items() if value is not None})


def connect(
    server_url: str,
    *,
    api_key: str | None = None,
    project: str | None = None,
    no_verify_ssl: bool = False,
    ssl_ca_cert: str | Path | None = None,
    timeout: float | None = None,
) -> KitaruConfig:
    """Keep the executions of this process on a server from now on, and return all settings.

    The server is asked at once, so that a wrong URL or token is told here. Nothing else of a program
    changes. Runs that have started are not touched. `kitaru login` does the same for all programs of a user.

    Args:
        server_url: Such as `https://kitaru.example.com`.
        api_key: The server's token; `KITARU_AUTH_TOKEN` if not given.
        project: Which project executions belong to.
        no_verify_ssl: Believe a server that cannot prove its name.
        ssl_ca_cert: A file of certificates to trust instead of the system's.
        timeout: Seconds that one request may take.

    Raises:
        KitaruUsageError: A value is not acceptable.
        KitaruBackendError: The server cannot be reached.
        KitaruAuthError: It does not know the token.
        KitaruFeatureNotAvailableError: It speaks another version.
    """
    from kitaru.client.login import ask_server

    before = settings.overrides()
    wanted = {
        "server_url": server_url,
        "auth_token": api_key,  # also if there is none: another server's is not for this one
        "project": before.get("project") if project is None else project,
        "verify_ssl": False if no_verify_ssl else None,
        "ssl_ca_cert": ssl_ca_cert,
        "server_timeout_seconds": timeout,
        # What `configure` has said of the store would stand beside the server, and win.
        "store_url": None,
        "artifact_store": None,
    }
    connected = settings.override(**wanted)
    try:
        ask_server(connected)
    except BaseException:
        settings.override(**{name: before.get(name) for name in wanted})
        raise
    return connected
