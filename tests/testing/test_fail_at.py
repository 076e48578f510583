"""Failures at checkpoints and at fault points, for as long as they are armed."""

from __future__ import annotations

import pytest

from kitaru import Flow, RetryPolicy, checkpoint, flow
from kitaru.errors import KitaruUsageError, KitaruUserCodeError
from kitaru.testing import EffectLog, FakeClock, disarm, fail_at, run_flow


def make() -> tuple[EffectLog, Flow[[], int]]:
    effects = EffectLog()

    @checkpoint(retries=RetryPolicy(max_attempts=3, delay=60))
    def charge(amount: int) -> int:
        effects.record("charge", amount=amount)
        return amount

    @flow
    def order() -> int:
        return charge(1) + charge(2)

    return effects, order


def test_checkpoint_fails_before_its_body_and_is_tried_again() -> None:
    effects, order = make()
    clock = FakeClock()
    began = clock.now()

    with fail_at("charge", ConnectionError("down"), times=2):
        run = run_flow(order, clock=clock)

    assert run.result == 3
    assert effects == ["charge", "charge"]
    first, second = run.execution.checkpoints
    assert [attempt.number for attempt in first.attempts] == [1, 2, 3]
    assert [attempt.number for attempt in second.attempts] == [1]
    assert clock.now() - began > 60_000_000


def test_one_call_fails_by_its_id() -> None:
    effects, order = make()

    with (
        fail_at("charge-2", ConnectionError, times=3),
        pytest.raises(KitaruUserCodeError) as caught,
    ):
        run_flow(order)

    assert isinstance(caught.value.__cause__, ConnectionError)
    assert effects == [("charge", {"amount": 1})]


def test_it_begins_at_an_occurrence_and_ends_with_the_block() -> None:
    _, order = make()

    with fail_at("charge", ConnectionError("down"), occurrence=2):
        run = run_flow(order)
    again = run_flow(order)

    assert [len(call.attempts) for call in run.execution.checkpoints] == [1, 2]
    assert [len(call.attempts) for call in again.execution.checkpoints] == [1, 1]


def test_several_are_armed_at_once_until_all_are_disarmed() -> None:
    _, order = make()

    fail_at("charge", ConnectionError("down"))
    fail_at("charge-2", OSError("gone"))
    run = run_flow(order)
    disarm()

    assert [len(call.attempts) for call in run.execution.checkpoints] == [2, 2]


def test_fault_points_are_struck_as_before() -> None:
    _, order = make()

    with fail_at("outcome.before_commit", RuntimeError("struck")), pytest.raises(RuntimeError):
        run_flow(order, timeout=5)


@pytest.mark.parametrize("where", ["call.before_comit", "call.never"])
def test_unknown_fault_point_is_refused_with_what_was_perhaps_meant(where: str) -> None:
    with pytest.raises(KitaruUsageError) as caught:
        fail_at(where, OSError())

    assert "call.before_commit" in str(caught.value)


def test_name_that_nothing_has_is_refused_with_what_was_perhaps_meant() -> None:
    _, order = make()

    with pytest.raises(KitaruUsageError, match="`charge`"), fail_at("chrage", OSError()):
        run_flow(order)


def test_numbers_are_checked() -> None:
    for occurrence, times in ((0, 1), (1, 0), (1, True)):
        with pytest.raises(KitaruUsageError):
            fail_at("charge", OSError(), occurrence=occurrence, times=times)
