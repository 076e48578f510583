"""Processes that look after a store: an attendant, a worker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import ROOT, clean_environment

_SETTLE_SECONDS = 3.0  # until it has come up and looked at everything once


@contextmanager
def attending(
    directory: Path, *command: str, store_url: str | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run `kitaru COMMAND` on the store in a folder inside this block.

    Args:
        directory: The folder.
        command: `up`, or `worker` and its modules.
        store_url: Another store.
    """
    named = {} if store_url is None else {"KITARU_STORE_URL": store_url}
    process = subprocess.Popen(
        [sys.executable, "-m", "kitaru", *command],
        cwd=ROOT,
        env=clean_environment(KITARU_CONFIG_PATH=str(directory), **named),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(_SETTLE_SECONDS)
        assert process.poll() is None
        yield process
    finally:
        process.terminate()
        process.wait()
