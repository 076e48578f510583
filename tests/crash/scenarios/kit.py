"""What every scenario shares: effects that outlive the process, armed faults, and the run itself.

A scenario is a script. The sweep starts it as `__main__` with `CRASH_DIR` set to a folder of the case and,
if it is to die, `CRASH_AT` set to `point:occurrence`. `CRASH_SKEW` says by how many seconds the clock of its
machine is wrong.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import kitaru
from kitaru import faults, logs, settings
from kitaru.clock import MICROSECONDS, SystemClock
from kitaru.engine import feed
from kitaru.engine.context import current_call
from kitaru.store.contract import Store
from kitaru.testing import kill_at
from kitaru.worker.runners import local_runner

if skew := int(os.environ.get("CRASH_SKEW", "0")):
    SystemClock.now = lambda self: time.time_ns() // 1_000 + skew * MICROSECONDS

_visits: collections.Counter[str] = collections.Counter()


def folder() -> Path:
    return Path(os.environ["CRASH_DIR"])


def append(name: str, entry: dict[str, Any]) -> None:
    """Add a line to a file of the case, flushed to disk, whole even if threads write at once."""
    line = (json.dumps(entry) + "\n").encode()
    descriptor = os.open(folder() / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def effect(identity: str) -> None:
    """Leave the mark that a body has run; `identity` says which call it was in the scenario's own terms."""
    active = current_call.get()
    assert active is not None
    append(
        "effects",
        {
            "exec_id": kitaru.current_execution_id(),
            "position": active.call.position,
            "attempt": active.attempt,
            "identity": identity,
            "pid": os.getpid(),
        },
    )


def got(identity: str, value: object) -> Any:
    """Note what the flow has got from a wait, and return it."""
    exec_id = kitaru.current_execution_id()
    append("got", {"exec_id": exec_id, "identity": identity, "value": value})
    return value


def arm() -> None:
    """Arm what `CRASH_AT` names; without it, count the visits of every fault point."""
    at = os.environ.get("CRASH_AT")
    if at:
        point, _, occurrence = at.partition(":")
        kill_at(point, occurrence=int(occurrence))
        return
    lock = threading.Lock()

    def visit(name: str) -> None:
        with lock:
            _visits[name] += 1

    faults.arm(visit)


def disarm() -> None:
    """Strike no more, and leave the counts where the sweep finds them."""
    faults.arm(None)
    (folder() / f"visits-{os.getpid()}").write_text(json.dumps(_visits))


def pause(name: str) -> None:
    """Wait until a file of the case appears."""
    deadline = time.monotonic() + 60
    while not (folder() / name).exists():
        assert time.monotonic() < deadline, f"nobody made {name!r}"
        time.sleep(0.005)


def start(flow: Any, *args: Any, **kwargs: Any) -> Any:
    """Start a run and note that it was accepted."""
    handle = flow.run(*args, **kwargs)
    append("accepted", {"exec_id": handle.exec_id})
    return handle


def play(flow: Any, *args: Any, **kwargs: Any) -> None:
    """Arm, run a flow to its end, disarm."""
    arm()
    start(flow, *args, **kwargs).wait()
    disarm()


def aplay(flow: Any, *args: Any, **kwargs: Any) -> None:
    """As `play`, on an event loop of the script's own."""

    async def main() -> None:
        await start(flow, *args, **kwargs)

    arm()
    asyncio.run(main())
    disarm()


def rows_of(store: Store, exec_id: str) -> str:
    """Return a hash over all that a store has of an execution."""
    everything = (
        store.get_execution(exec_id),
        store.list_calls(exec_id),
        store.list_attempts(exec_id),
        store.list_artifacts(exec_id),
        store.list_metadata(exec_id),
        store.list_waits(exec_id),
        store.list_logs(exec_id),
        store.list_events(exec_id),
    )
    return hashlib.sha256(repr(everything).encode()).hexdigest()


def replay(flow: Any, **what: Any) -> None:
    """Run a flow undisturbed, then arm, replay it to its end, disarm."""
    origin = flow.run()
    origin.wait()
    assert logs.flush()
    assert feed.flush(20.0)
    store = local_runner(settings.current()).store
    append("origin", {"exec_id": origin.exec_id, "rows": rows_of(store, origin.exec_id)})
    arm()
    handle = flow.replay(origin.exec_id, **what)
    append("accepted", {"exec_id": handle.exec_id})
    handle.wait()
    disarm()
