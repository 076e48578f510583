"""`kitaru info`: the installation, for a bug report."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru.cli.config import setting_rows
from kitaru.cli.output import OutputFormat, print_item, print_text, snapshot
from kitaru.cli.status import executions_text, status_shape
from kitaru.errors import KitaruUsageError


def info(
    *,
    everything: Annotated[bool, Parameter(name=["--all", "-a"], negative=())] = False,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"])] = None,
    output: OutputFormat = "text",
) -> None:
    """Show the installation, for a bug report. Nothing secret is in it.

    Args:
        everything: Installed packages and settings as well.
        file: Write it to this file, which must end in `.json`.
    """
    if file is not None and file.suffix != ".json":
        message = f"expected `--file` to end in '.json', got: '{file}'"
        raise KitaruUsageError(message)
    found = _info_shape(everything=everything)
    if file is not None:
        file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if output == "json":
        print_item("info", found)
    elif file is not None:
        print_text(f"Wrote {file}")
    else:
        print_text(snapshot("Kitaru installation", _facts(found)))
        for title in ("settings", "packages"):
            if title in found:
                print_text("\n" + snapshot(title.capitalize(), found[title]))


def _info_shape(*, everything: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        **status_shape(),
        "python_version": platform.python_version(),
        "python_executable": sys.executable,
        "system_info": {"os": platform.platform(), "architecture": platform.machine()},
    }
    if everything:
        found["settings"] = {
            row["name"]: f"{row['value']} ({row['source']})" for row in setting_rows()
        }
        found["packages"] = dict(
            sorted((found.name, found.version) for found in distributions() if found.name)
        )
    return found


def _facts(found: dict[str, Any]) -> dict[str, object]:
    return {
        "Kitaru": found["sdk_version"],
        "Python": f"{found['python_version']} ({found['python_executable']})",
        "System": f"{found['system_info']['os']} ({found['system_info']['architecture']})",
        "Store": found["connection_target"],
        "Large values": found["artifact_store"],
        "Config directory": found["config_directory"],
        "Project folder": found["repository_root"] or "none",
        "Executions": executions_text(found)
        if found["damage"] or found["executions"] is None
        else sum(found["executions"].values()),
    }
