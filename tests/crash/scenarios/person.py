"""The person whom the flows of a case ask, and the clock that their sleeps wait for. No scenario.

A scenario says its answers by the name of the wait, or by its question where several share a name. They lie
in a file of the case, so that whoever recovers it gives the same ones. Waits without an answer stay open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import kit

from kitaru import KitaruClient, KitaruStateError, settings
from kitaru.clock import SystemClock
from kitaru.model import ExecutionRecord, WaitKind, WaitRecord, WaitStatus
from kitaru.testing import use_clock
from kitaru.worker.local import LocalRunner
from kitaru.worker.resuming import answered
from kitaru.worker.runners import local_runner

Reply = dict[str, Any]

# Nobody answers; the clock goes on to the moment at which the wait ends by itself.
LATER: Reply = {"later": True}
ABORT: Reply = {"abort": True}

_PAUSE_SECONDS = 0.005
_FILE = "answers"
_LATER_FILE = "later"


class CaseClock(SystemClock):
    """The system's clock, moved on; later processes of the case live in the same time."""

    def __init__(self) -> None:
        file = kit.folder() / _LATER_FILE
        lines = file.read_text().splitlines() if file.exists() else []
        self._ahead = sum(json.loads(line)["by"] for line in lines)

    def now(self) -> int:
        return super().now() + self._ahead

    def go_to(self, moment: int) -> None:
        by = moment - self.now()
        if by > 0:
            kit.append(_LATER_FILE, {"by": by})
            self._ahead += by


def says(value: object) -> Reply:
    return {"value": value}


def aborts_then_says(value: object) -> Reply:
    """Abort while the flow will be tried again, then answer."""
    return {"abort": True, "value": value}


def says_only_after_being_told_off(wrong: object, value: object) -> Reply:
    """Give an answer that the flow refuses, then another."""
    return {"wrong": wrong, "value": value}


def note(replies: Mapping[str, Reply]) -> None:
    """Leave the answers where every process of the case finds them."""
    file = kit.folder() / f"{_FILE}-{os.getpid()}"
    file.write_text(json.dumps(replies))
    file.rename(kit.folder() / _FILE)


def play(flow: Any, replies: Mapping[str, Reply], *args: Any, **kwargs: Any) -> None:
    """Arm, run a flow to its end while its questions are answered, disarm."""
    note(replies)
    kit.arm()
    with in_time() as clock:
        handle = kit.start(flow, *args, **kwargs)
        with at_work(clock):
            handle.wait()
    kit.disarm()


def aplay(flow: Any, replies: Mapping[str, Reply], *args: Any, **kwargs: Any) -> None:
    """As `play`, on an event loop of the script's own."""

    async def main() -> None:
        handle = kit.start(flow, *args, **kwargs)
        with at_work(clock):
            await handle

    note(replies)
    kit.arm()
    with in_time() as clock:
        asyncio.run(main())
    kit.disarm()


def replay(flow: Any, replies: Mapping[str, Reply], **what: Any) -> None:
    """Run a flow undisturbed, then arm, replay it to its end, disarm; all while questions are answered."""
    note(replies)
    with in_time() as clock, at_work(clock):
        kit.replay(flow, **what)


def is_needed() -> bool:
    """Whether executions of the case are not over, of one whose flows ask."""
    return (kit.folder() / _FILE).exists() and bool(_runner().store.list_unfinished(limit=1))


def wake() -> None:
    """End the waits whose moment has come, of executions that no process keeps in memory."""
    runner = _runner()
    runner.store.wake_due(now=runner.services.clock.now(), limit=1000)


@contextlib.contextmanager
def in_time() -> Iterator[CaseClock]:
    """Have the runs of this process live in the time of the case."""
    clock = CaseClock()
    with use_clock(clock):
        yield clock


@contextlib.contextmanager
def at_work(clock: CaseClock) -> Iterator[None]:
    """Have a thread answer what is asked, if the case has answers."""
    file = kit.folder() / _FILE
    if not file.exists():
        yield
        return
    replies: dict[str, Reply] = json.loads(file.read_text())
    runner, client, over = _runner(), KitaruClient(), threading.Event()

    def work() -> None:
        while not over.wait(_PAUSE_SECONDS):
            for execution in runner.store.list_unfinished(limit=1000):
                for wait in runner.store.list_waits(execution.id):
                    reply = replies.get(wait.question or "") or replies.get(wait.name)
                    if wait.status is WaitStatus.OPEN and reply is not None:
                        # As it is now: while it was tried again, the same question was asked again.
                        asking = runner.store.get_execution(execution.id)
                        _see_to(client, clock, asking, wait, reply)

    thread = threading.Thread(target=work, name="person")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _see_to(
    client: KitaruClient,
    clock: CaseClock,
    execution: ExecutionRecord,
    wait: WaitRecord,
    reply: Reply,
) -> None:
    if "later" in reply:
        assert wait.wake_at is not None
        clock.go_to(wait.wake_at)
        answered(execution.id)
        return
    assert wait.kind is WaitKind.INPUT
    # Between looking and answering the execution may have ended.
    with contextlib.suppress(KitaruStateError):
        is_wrong = "wrong" in reply and wait.problem is None
        is_abort = "abort" in reply and ("value" not in reply or execution.retries_left > 0)
        value = None if is_abort else reply["wrong" if is_wrong else "value"]
        if is_abort:
            client.executions.abort_wait(execution.id, wait=wait.wait_id)
        else:
            client.executions.input(execution.id, wait=wait.wait_id, value=value)
        is_last = not is_wrong and not (is_abort and "value" in reply)
        said = {"exec_id": execution.id, "position": wait.position, "answer": value}
        kit.append("answered", {**said, "is_last": is_last})


def _runner() -> LocalRunner:
    return local_runner(settings.current())
