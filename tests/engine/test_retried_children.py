"""S1.7, S2.6: a retry of a parent retries the children that it failed of."""

from __future__ import annotations

import asyncio

import pytest

from kitaru import FlowHandle, KitaruUserCodeError, checkpoint, flow
from kitaru.model import ExecutionStatus
from tests.engine.kit import retry, runner
from tests.engine.test_children import children

# Flows of a module, because a child that is continued is looked up by its name.
troubles: set[str] = set()
ran: list[str] = []


@pytest.fixture(autouse=True)
def _no_troubles() -> None:
    troubles.clear()
    ran.clear()


@checkpoint
def before(name: str) -> str:
    ran.append(f"before {name}")
    return name


@flow
def fragile(name: str) -> str:
    before(name)
    ran.append(name)
    if name in troubles:
        raise ConnectionError(name)
    return name


@flow
async def afragile(name: str) -> str:
    await asyncio.sleep(0)
    ran.append(name)
    if name in troubles:
        raise ConnectionError(name)
    return name


@flow
def between(name: str) -> str:
    return fragile.run(name).wait()


def statuses(handle: FlowHandle[object]) -> list[ExecutionStatus]:
    return [child.status for child in children(handle.exec_id)]


def fail(handle: FlowHandle[object]) -> None:
    with pytest.raises(KitaruUserCodeError):
        handle.wait()


def test_retry_of_the_parent_retries_the_child_that_it_failed_of() -> None:
    @flow
    def parent() -> str:
        return between.run("a").wait()

    troubles.add("a")
    handle = parent.run()
    fail(handle)
    former = children(handle.exec_id)
    troubles.clear()

    retry(parent, handle)

    assert handle.wait() == "a"
    assert [c.id for c in children(handle.exec_id)] == [c.id for c in former]
    assert ran == ["before a", "a", "a"]  # the child's own calls are not made again


def test_child_failure_that_the_parent_caught_stays() -> None:
    @flow
    def parent() -> list[str]:
        try:
            first = fragile.run("a").wait()
        except KitaruUserCodeError:
            first = before("instead")
        return [first, fragile.run("b").wait()]

    troubles.update("ab")
    handle = parent.run()
    fail(handle)
    troubles.clear()

    retry(parent, handle)

    assert handle.wait() == ["instead", "b"]
    assert statuses(handle) == [ExecutionStatus.FAILED, ExecutionStatus.COMPLETED]


def test_one_retry_runs_all_failed_children_of_a_fan_out() -> None:
    @flow
    def parent() -> list[str]:
        handles = [fragile.run(name) for name in "abc"]
        return [handle.wait() for handle in handles]

    troubles.update("ab")
    handle = parent.run()
    fail(handle)
    for child in children(handle.exec_id):
        local = runner().find(child.id)
        if local is not None:
            local.finished.exception(20)
    troubles.clear()

    retry(parent, handle)

    assert handle.wait() == ["a", "b", "c"]
    assert ran.count("c") == 1


def test_retry_of_an_async_parent_retries_its_children() -> None:
    @flow
    async def parent() -> list[str]:
        return await asyncio.gather(*(afragile.run(name) for name in "ab"))

    troubles.add("a")
    handle = parent.run()
    fail(handle)
    troubles.clear()

    retry(parent, handle)

    assert handle.wait() == ["a", "b"]


def test_flow_with_retries_retries_its_children_too() -> None:
    @flow(retries=1)
    def parent() -> str:
        try:
            return fragile.run("a").wait()
        except KitaruUserCodeError:
            troubles.clear()
            raise

    troubles.add("a")
    handle = parent.run()

    assert handle.wait() == "a"
    assert len(children(handle.exec_id)) == 1


def test_further_attempt_of_a_body_retries_the_child_that_failed() -> None:
    attempts: list[int] = []

    @checkpoint(retries=2)
    def delegate() -> str:
        attempts.append(1)
        if len(attempts) == 3:
            troubles.clear()
        return fragile.run("a").wait()

    @flow
    def parent() -> str:
        return delegate()

    troubles.add("a")
    handle = parent.run()

    assert handle.wait() == "a"
    assert len(attempts) == 3
    assert len(children(handle.exec_id)) == 1


def test_retry_of_a_parent_whose_body_started_the_child_retries_it() -> None:
    @checkpoint
    def delegate() -> str:
        return fragile.run("a").wait()

    @flow
    def parent() -> str:
        return delegate()

    troubles.add("a")
    handle = parent.run()
    fail(handle)
    troubles.clear()

    retry(parent, handle)

    assert handle.wait() == "a"


def test_child_that_was_retried_by_itself_gives_its_result_to_the_retried_parent() -> None:
    @flow
    def parent() -> str:
        return fragile.run("a").wait()

    troubles.add("a")
    handle = parent.run()
    fail(handle)
    troubles.clear()
    [child] = children(handle.exec_id)
    retry(fragile, FlowHandle(child.id, runner(), None)).finished.result(20)

    retry(parent, handle)

    assert handle.wait() == "a"
    assert ran == ["before a", "a", "a"]
