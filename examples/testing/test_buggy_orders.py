"""These pass, and find nothing. Run them with the two options to see what they miss."""

from __future__ import annotations

import itertools

import pytest

from examples.testing import buggy_orders as buggy
from kitaru.testing import EffectLog, run_flow


@pytest.fixture(autouse=True)
def as_a_process_starts() -> None:
    buggy.packed.clear()
    buggy.numbers = itertools.count(1)


def test_order_is_charged(effects: EffectLog) -> None:
    run_flow(buggy.order_charged_twice, 20)

    assert effects == ["charge"]


def test_order_is_sent(effects: EffectLog) -> None:
    run_flow(buggy.order_sent_empty, "tea")

    assert effects == ["parcel"]


def test_order_has_a_number() -> None:
    assert run_flow(buggy.order_with_a_number_of_its_own).result == "order 1 of order 2"


def test_order_is_stamped() -> None:
    assert run_flow(buggy.order_stamped_now, "tea").result.startswith("tea at ")
