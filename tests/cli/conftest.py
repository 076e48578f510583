from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kitaru import settings
from kitaru.cli.main import main
from kitaru.store import Store, open_store


@dataclass(frozen=True)
class Done:
    """What became of a command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        [line] = self.out.splitlines()
        return json.loads(line)


Kitaru = Callable[..., Done]


@pytest.fixture
def here(config_dir: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder that commands run in, with an empty store elsewhere."""
    folder = config_dir.parent / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    settings.forget()
    yield folder
    settings.forget()


@pytest.fixture
def store(here: Path):
    opened = open_store(settings.current().store_url)
    yield opened
    opened.close()


@pytest.fixture
def kitaru(store: Store, capsys: pytest.CaptureFixture[str]) -> Iterator[Kitaru]:
    """Run a command line in this process."""

    def run(*tokens: str) -> Done:
        capsys.readouterr()
        code = main(tokens)
        shown = capsys.readouterr()
        return Done(code, shown.out, shown.err)

    own = logging.getLogger("kitaru")  # which a command line configures for its whole process
    handlers, level = list(own.handlers), own.level
    yield run
    own.handlers[:] = handlers
    own.setLevel(level)


COMMAND = [sys.executable, "-m", "kitaru.cli"]


@pytest.fixture
def process(here: Path) -> Kitaru:
    """Run a command line in a process of its own."""

    def run(*tokens: str, **environment: str) -> Done:
        done = subprocess.run(
            [*COMMAND, *tokens],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
