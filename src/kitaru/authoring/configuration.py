"""`configure`: settings for this process."""

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
