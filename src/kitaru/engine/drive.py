"""The two drivers: carry out a protocol's commands in a thread, or on an event loop.

They are the only twins in the code base.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, assert_never

from kitaru.engine.protocol import Command, Fetch, Invoke, Join, Sleep
from kitaru.engine.recorder import Commit
from kitaru.engine.run import Run

if TYPE_CHECKING:
    from kitaru.engine.calls import ActiveCall
    from kitaru.model import Committed

logger = logging.getLogger(__name__)

Steps = Generator[Command, Any, Any]


def drive(run: Run, steps: Steps, invoke: Callable[[ActiveCall], Any]) -> Any:
    """Carry out a protocol in this thread and return what it returns."""
    resume: Callable[[Any], Command] = steps.send
    argument: Any = None
    while True:
        try:
            command = resume(argument)
        except StopIteration as done:
            return done.value
        try:
            match command:
                case Invoke():
                    argument = invoke(command.active)
                case Commit():
                    argument = run.recorder.commit(command)
                case Fetch():
                    argument = command.operation()
                case Sleep():
                    argument = run.sleep(command.seconds)
                case Join():
                    argument = concurrent.futures.wait(command.futures, command.timeout)
                case _:
                    assert_never(command)
            resume = steps.send
        except BaseException as error:  # noqa: BLE001 - handed to the protocol, which decides
            resume, argument = steps.throw, error


async def adrive(run: Run, steps: Steps, invoke: Callable[[ActiveCall], Awaitable[Any]]) -> Any:
    """Carry out a protocol on the running loop, never blocking it, and return what it returns."""
    resume: Callable[[Any], Command] = steps.send
    argument: Any = None
    while True:
        try:
            command = resume(argument)
        except StopIteration as done:
            return done.value
        try:
            match command:
                case Invoke():
                    argument = await invoke(command.active)
                case Commit():
                    argument = await _acommit(run, command)
                case Fetch():
                    argument = await in_thread(run, command.operation)
                case Sleep():
                    argument = await asyncio.sleep(run.clock.pass_time(command.seconds))
                    run.check()
                case Join():
                    argument = await _ajoin(command)
                case _:
                    assert_never(command)
            resume = steps.send
        except BaseException as error:  # noqa: BLE001 - handed to the protocol, which decides
            resume, argument = steps.throw, error


async def _ajoin(join: Join) -> None:
    await asyncio.wait(map(asyncio.wrap_future, join.futures), timeout=join.timeout)


async def _acommit(run: Run, commit: Commit) -> None:
    future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
    run.recorder.submit_commit(commit, future)
    run.committed(await future)


async def in_thread(run: Run, operation: Callable[[], Any]) -> Any:
    """Return what a blocking function returns, without blocking the loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def job() -> None:
        value, failure = None, None
        try:
            value = operation()
        except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
            failure = error
        try:
            loop.call_soon_threadsafe(settle, value, failure)
        except RuntimeError:
            # The loop has ended under the flow, which goes on elsewhere.
            logger.debug("loop closed before an operation returned")

    run.services.threads.put(job)
    return await future
