"""Answer the one open question of the case: `answer.py VALUE`. No scenario of the sweep."""

from __future__ import annotations

import sys

import kit

from kitaru import KitaruClient, settings
from kitaru.model import WaitKind
from kitaru.worker.runners import local_runner

if __name__ == "__main__":
    [wait] = local_runner(settings.current()).store.list_open_waits("default", limit=10)
    assert wait.kind is WaitKind.INPUT
    kit.arm()
    KitaruClient().executions.input(wait.exec_id, wait=wait.wait_id, value=sys.argv[1])
    said = {"exec_id": wait.exec_id, "position": wait.position, "answer": sys.argv[1]}
    kit.append("answered", {**said, "is_last": True})
