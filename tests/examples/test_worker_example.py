"""The example of a run that is left to workers."""

from __future__ import annotations

import pytest

from tests.examples.conftest import Run


@pytest.mark.slow
def test_second_worker_goes_on_with_what_the_first_had_recorded(
    run_python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_ATTENDANT", "true")

    ended = run_python("examples/left_to_a_worker.py")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "the first worker was killed after some recorded calls",
        "the second worker ended with 0",
        "completed: 8 places, 1 recovery",
    ]
