"""Making a project: a `.kitaru` folder that keeps the runs started beside and below it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kitaru import settings
from kitaru.errors import KitaruUsageError

_CONFIG = """\
# Settings of this Kitaru project; `kitaru config show` tells what holds and why.
# Runs started in this folder or below are kept in `.kitaru/`.

# project = "default"
# stack = "local"
# cache = false
# retries = 0
"""
_IGNORE = """\
# What runs leave here is nobody else's; the settings may be shared.
*
!.gitignore
!config.toml
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A project's `.kitaru` folder, and whether it is new."""

    folder: Path
    created: bool


def make_project(path: Path) -> Project:
    """Make a folder a project, if it is none yet.

    Durability: the settings file, which marks a project, is written last. Safe to repeat.

    Raises:
        KitaruUsageError: The folder cannot be made or written to.
    """
    folder = path.absolute() / settings.PROJECT_FOLDER
    marker = folder / settings.CONFIG_FILE
    if marker.is_file():
        return Project(folder, created=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text(_IGNORE, encoding="utf-8")
        marker.write_text(_CONFIG, encoding="utf-8")
    except OSError as error:
        message = f"'{folder}' cannot be made a project: {error.strerror}."
        raise KitaruUsageError(message) from error
    settings.reread()
    return Project(folder, created=True)
