"""The example of a server, a worker and a laptop."""

from __future__ import annotations

import pytest

from tests.examples.conftest import Run


@pytest.mark.slow
def test_run_is_started_here_carried_on_there_and_outlives_its_server(run_python: Run) -> None:
    ended = run_python("-m", "examples.shared.demo")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "a server is there",
        "a worker is there, which knows its URL and its token",
        "the worker runs what the laptop has started",
        "the server was killed, and is there again",
        "the flow asks: Publish 10 places?",
        "completed: 10 places published; 0 visits were made twice",
    ]
