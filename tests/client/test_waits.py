"""Questions as the client shows and answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

import kitaru
from kitaru import (
    FlowHandle,
    KitaruClient,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
    KitaruWaitAbortedError,
    KitaruWaitValidationError,
    flow,
    settings,
)
from kitaru.client import shapes
from kitaru.model import ExecutionStatus, WaitStatus
from kitaru.store import Store
from kitaru.testing import FakeClock, use_clock
from tests.engine.kit import asked, end_runs, leave, parked
from tests.store import records


@pytest.fixture(autouse=True)
def own_store(config_dir: Path) -> Iterator[None]:
    url = settings.current().store_url

    yield

    end_runs(url)


class Review(pydantic.BaseModel):
    approved: bool
    comment: str = ""


@flow
def review(question: str = "Ship it?") -> Review:
    return kitaru.wait(schema=Review, name="review", question=question, metadata={"pr": 7})


@flow
async def committee() -> list[bool]:
    return list(
        await asyncio.gather(*(kitaru.wait.aio(schema=bool, name="vote") for _ in range(2)))
    )


@pytest.fixture
def client() -> KitaruClient:
    return KitaruClient()


def stop(handle: FlowHandle[Any]) -> None:
    handle.cancel()
    leave(handle)


def test_open_question_is_shown_with_the_execution_and_among_all(client: KitaruClient) -> None:
    handle = review.run()
    parked(handle)

    execution = client.executions.get(handle.exec_id)

    wait = execution.pending_wait
    assert wait is not None
    assert (wait.wait_id, wait.name, wait.question) == ("review", "review", "Ship it?")
    assert wait.metadata == {"pr": 7}
    assert wait.schema is not None
    assert wait.schema["required"] == ["approved"]
    assert execution.pending_waits == (wait,)
    assert client.executions.list()[0].pending_wait == wait
    assert client.executions.pending_waits(handle.exec_id) == [wait]
    assert client.waits.list() == [wait]
    assert wait.flow_name == "review"
    [call] = execution.checkpoints
    assert (call.call_id, call.status, call.checkpoint_type, call.attempts) == (
        "review",
        ExecutionStatus.WAITING,
        "wait",
        (),
    )
    assert shapes.execution(execution)["pending_wait"]["question"] == "Ship it?"
    stop(handle)


def test_answer_given_in_python_values_arrives_and_is_audited(client: KitaruClient) -> None:
    handle = review.run()
    parked(handle)

    client.executions.input(handle.exec_id[:30], wait="review", value=Review(approved=True))

    assert handle.wait() == Review(approved=True)
    [wait] = client.executions.get(handle.exec_id).waits
    assert (wait.status, wait.answer) == (WaitStatus.ANSWERED, {"approved": True, "comment": ""})
    assert wait.resolved_by is not None
    assert "@" in wait.resolved_by
    assert wait.resolved_via is not None
    assert wait.resolved_via.startswith("client (pid ")
    assert client.executions.pending_waits(handle.exec_id) == []


def test_handle_answers_too(client: KitaruClient) -> None:
    handle = review.run()
    parked(handle)

    handle.input("review", {"approved": False})

    assert handle.wait() == Review(approved=False)


def test_aborted_wait_raises_in_the_flow(client: KitaruClient) -> None:
    handle = review.run()
    parked(handle)

    client.executions.abort_wait(handle.exec_id, wait="review")

    with pytest.raises(KitaruWaitAbortedError):
        handle.wait()


@pytest.mark.parametrize(
    ("value", "told"),
    [("yes", "review"), ({}, "approved"), ({"approved": "true"}, "approved"), (None, "review")],
)
def test_answer_of_the_wrong_type_is_refused_and_the_wait_stays_open(
    client: KitaruClient, value: object, told: str
) -> None:
    handle = review.run()
    parked(handle)

    with pytest.raises(KitaruWaitValidationError, match=told):  # S4.4
        client.executions.input(handle.exec_id, wait="review", value=value)

    assert asked(handle, "review").status is WaitStatus.OPEN
    stop(handle)


def test_waits_that_cannot_be_answered_are_refused_by_name(client: KitaruClient) -> None:
    handle = review.run()
    parked(handle)

    with pytest.raises(
        KitaruStateError, match=r"has no open wait 'other'\. It waits for: 'review'"
    ):
        client.executions.input(handle.exec_id, wait="other", value=1)
    with pytest.raises(KitaruUsageError, match="name or the id of a wait"):
        client.executions.input(handle.exec_id, wait="", value=1)
    with pytest.raises(KitaruUsageError, match="JSON"):
        client.executions.input(handle.exec_id, wait="review", value=object())
    with pytest.raises(KitaruNotFoundError):
        client.executions.input("zz", wait="review", value=1)
    handle.input("review", {"approved": True})
    handle.wait()
    told = r"'review' of execution .* was answered by \S+ via 'handle \(pid \d+\)' at \d{4}-.* UTC; a wait"
    for selector in ("review", "wait:review#1"):
        with pytest.raises(KitaruStateError, match=told):
            client.executions.input(handle.exec_id, wait=selector, value={"approved": False})


def test_name_of_several_open_waits_is_ambiguous(client: KitaruClient) -> None:
    handle = committee.run()
    asked(handle, "vote-2")

    with pytest.raises(KitaruStateError, match=r"means 2 open waits .* '0/wait:vote#1'"):
        handle.input("vote", value=True)

    handle.input("vote-2", value=True)
    handle.input("vote", value=False)
    assert handle.wait() == [False, True]


def test_answer_to_a_position_reads_no_other_waits(
    client: KitaruClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = committee.run()
    asked(handle, "vote-2")
    read: list[Any] = []
    store = client.executions._connection.store
    list_waits = store.list_waits

    def noted(exec_id: str, *, positions: Any = None) -> Any:
        read.append(positions)
        return list_waits(exec_id, positions=positions)

    answering = client.executions._answering
    with monkeypatch.context() as patched:
        patched.setattr(store, "list_waits", noted)
        answering.answer(handle.exec_id, "0/wait:vote#1", True, via="test")
        by_position = list(read)
        read.clear()
        answering.answer(handle.exec_id, "vote-2", False, via="test")

    assert None not in by_position
    assert read.count(None) <= 1
    assert handle.wait() == [True, False]


def test_replay_shows_its_origin_and_what_it_took_over(client: KitaruClient) -> None:
    handle = review.run()
    parked(handle)
    handle.input("review", {"approved": True})
    handle.wait()

    replayed = client.executions.replay(
        handle.exec_id, overrides={"wait.review": {"approved": False}}
    )

    assert replayed.original_exec_id == handle.exec_id
    [call] = replayed.refresh().checkpoints
    assert call.is_overridden
    assert call.original_call_id == f"{handle.exec_id}/review"


def test_only_open_waits_can_be_listed(client: KitaruClient) -> None:
    with pytest.raises(KitaruUsageError, match="'open'"):
        client.waits.list(status="closed")  # pyright: ignore[reportArgumentType] - the error itself


def test_answer_under_a_fake_clock_is_taken_up_at_once(client: KitaruClient) -> None:
    with use_clock(FakeClock()):
        handle = review.run()
        parked(handle)
        handle.input("review", {"approved": True})

        assert handle.wait(timeout=60) == Review(approved=True)
        assert "ago" in client.executions.why(handle.exec_id).text
        assert "days" not in client.executions.why(handle.exec_id).text


@flow
def parent(suffix: str = "") -> str:
    return asking_nothing.run().wait() + suffix


@flow
def asking_nothing() -> str:
    return "child"


def test_child_that_a_replay_took_over_is_named(client: KitaruClient) -> None:
    handle = parent.run()
    handle.wait()
    [old] = client.executions.get(handle.exec_id).checkpoints

    replayed = parent.replay(handle.exec_id, suffix="!")

    assert replayed.wait() == "child!"
    [call] = client.executions.get(replayed.exec_id).checkpoints
    assert call.child_exec_id == old.child_exec_id
    assert call.original_call_id == f"{handle.exec_id}/{old.call_id}"


def test_open_questions_are_counted_up_to_a_number(store: Store, client: KitaruClient) -> None:
    for _ in range(3):
        execution = records.run(store)
        records.park(store, records.question(execution), execution=execution)

    assert client.waits.count() == 3
    assert client.waits.count(at_most=2) == 2
