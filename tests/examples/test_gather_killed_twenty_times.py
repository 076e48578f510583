"""Twenty runs of racing branches, each killed at random moments and recovered until it has finished."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest

from kitaru import ExecutionStatus, KitaruClient
from tests.examples.conftest import ROOT

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "examples" / "gather_in_any_order.py"
CHANGES: list[Callable[[str], str]] = [str.upper, lambda word: word[::-1], lambda word: word * 2]
EXPECTED = [
    second(first(word)) for word, first, second in product(["bee", "sea", "key"], CHANGES, CHANGES)
]
BODIES = dict(zip(("shout", "reverse", "double"), CHANGES, strict=True))


@contextmanager
def started(*arguments: str | Path) -> Generator[subprocess.Popen[str]]:
    """Start Python, and make sure that it is gone in the end."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_after(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill a process that still runs after so long; return whether it did."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


@pytest.mark.parametrize("number", range(20))
def test_results_keep_to_their_inputs_whenever_the_process_dies(
    number: int, config_dir: Path
) -> None:
    chance = random.Random(number)
    with started(SCRIPT) as process:
        assert process.stdout is not None
        exec_id = process.stdout.readline().strip()
        # The branches take up to half a second together.
        was_killed = kill_after(process, chance.uniform(0, 0.3))
    executions = KitaruClient().executions
    recorded = {call.call_id: call for call in executions.get(exec_id).checkpoints if call.ended_at}

    for longest in (0.5, 1.0):
        with started("-m", "kitaru", "executions", "recover", exec_id) as process:
            kill_after(process, chance.uniform(0, longest))
    if not executions.get(exec_id).status.is_finished:
        with started("-m", "kitaru", "executions", "recover", exec_id) as process:
            process.communicate()

    execution = executions.get(exec_id)
    assert was_killed
    assert execution.recoveries >= 1
    assert execution.status is ExecutionStatus.COMPLETED
    assert execution.result() == EXPECTED
    assert len(execution.checkpoints) == 36  # none was recorded twice
    after = {call.call_id: call for call in execution.checkpoints}
    assert {call_id: after[call_id] for call_id in recorded} == recorded
    for call in execution.checkpoints:
        assert call.name in BODIES
        assert call.status is ExecutionStatus.COMPLETED
