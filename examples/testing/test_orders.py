"""Run with `--kitaru-crash-sweep` and `--kitaru-always-replay` too: these pass."""

from __future__ import annotations

from examples.testing.orders import order
from kitaru.testing import EffectLog, fail_at, run_flow


def test_order_is_charged_and_sent(effects: EffectLog) -> None:
    run = run_flow(order, ["tea", "cup"], waits={"send": True})

    assert run.result == 2
    assert run.checkpoints == ["pick", "pick", "charge", "send"]
    assert effects.names() == ["charge", "parcel", "parcel"]


def test_nothing_is_sent_without_a_payment(effects: EffectLog) -> None:
    run = run_flow(order, ["tea"], waits={"send": False})

    assert run.result == 0
    assert effects == [("charge", {"amount": 10})]


def test_bank_that_is_away_is_asked_again(effects: EffectLog) -> None:
    with fail_at("charge", ConnectionError("the line is dead"), times=2):
        run_flow(order, ["tea"], waits={"send": True})

    assert effects.names() == ["charge", "parcel"]
