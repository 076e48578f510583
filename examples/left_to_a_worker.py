"""A run that is left to a worker: the worker is killed in the middle, and the next one goes on.

The flow runs in neither this process nor its children, but in whichever worker takes it up:

    kitaru run examples/left_to_a_worker.py:survey --detach
    kitaru worker examples/left_to_a_worker.py

Here the program plays both parts, and the accident.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

from kitaru import KitaruClient, checkpoint, flow

KITARU = [sys.executable, "-m", "kitaru"]


@checkpoint(type="tool_call")
def visit(place: str) -> str:
    time.sleep(0.3)
    return f"{place}: seen"


@flow
def survey(places: int = 8) -> list[str]:
    return [visit(f"place {number + 1}") for number in range(places)]


def start_worker() -> subprocess.Popen[bytes]:
    worker = subprocess.Popen([*KITARU, "worker", __file__], stderr=subprocess.DEVNULL)
    until(lambda: worker.pid in {found.pid for found in KitaruClient().upkeep.list_workers()})
    return worker


def until(fits: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not fits():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


if __name__ == "__main__":
    first = start_worker()
    command = [*KITARU, "run", f"{__file__}:survey", "--detach", "-o", "json"]
    exec_id = json.loads(subprocess.check_output(command))["item"]["exec_id"]
    executions = KitaruClient().executions
    until(lambda: len(executions.get(exec_id).checkpoints) > 2)

    first.kill()
    first.wait()
    seen = [call for call in executions.get(exec_id).checkpoints if call.status == "completed"]
    print("the first worker was killed after", "some" if seen else "no", "recorded calls")

    second = start_worker()
    until(lambda: executions.get(exec_id).status.is_finished)
    second.terminate()  # it ends when nothing runs there any more
    print(f"the second worker ended with {second.wait()}")

    execution = executions.get(exec_id)
    print(f"{execution.status}: {len(execution.result())} places, {execution.recoveries} recovery")
