"""Tests of the test kit: settings that are nobody's, nothing armed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru.testing import disarm


@pytest.fixture(autouse=True)
def _nobodys_settings(config_dir: Path) -> Iterator[None]:
    yield

    disarm()
