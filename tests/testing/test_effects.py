"""The ledger that fakes of outside services write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import kitaru
from kitaru import checkpoint, flow
from kitaru.errors import KitaruUsageError
from kitaru.testing import Effect, EffectLog, run_flow


def test_effects_are_compared_with_names_facts_and_each_other(tmp_path: Path) -> None:
    effects = EffectLog(tmp_path / "ledger")

    assert effects == []
    effects.record("charge", amount=20)
    effects.record("mail", to="ann")

    assert effects == ["charge", ("mail", {"to": "ann"})]
    assert effects == [Effect(name="charge", facts={"amount": 20}), "mail"]
    assert effects != ["mail", "charge"]
    assert effects.names() == ["charge", "mail"]
    assert [effect.facts for effect in effects] == [{"amount": 20}, {"to": "ann"}]
    assert len(effects) == 2
    assert repr(effects) == "[charge(amount=20), mail(to='ann')]"
    assert EffectLog(tmp_path / "ledger") == effects


def test_repeat_under_a_key_is_no_second_effect() -> None:
    effects = EffectLog()

    first = effects.record("charge", key="k1", amount=1)
    again = effects.record("charge", key="k1", amount=2)
    other = effects.record("charge", key="k2", amount=3)

    assert again == first
    assert effects == [first, other]
    assert len(effects.entries()) == 3


def test_effect_says_which_call_it_was_done_in() -> None:
    effects = EffectLog()

    @checkpoint
    def pay() -> None:
        call = kitaru.current_call()
        assert call is not None
        effects.record("charge", key=call.idempotency_key)

    @flow
    def order() -> None:
        pay()
        pay()

    run = run_flow(order)

    assert [(e.exec_id, e.call_id) for e in effects] == [
        (run.exec_id, "pay"),
        (run.exec_id, "pay-2"),
    ]


def test_effect_of_another_process_is_seen(tmp_path: Path) -> None:
    effects = EffectLog(tmp_path / "ledger")

    child = os.fork()
    if child == 0:
        effects.record("charge")
        os._exit(0)
    os.waitpid(child, 0)

    assert effects == ["charge"]


def test_facts_that_are_no_json_are_refused() -> None:
    with pytest.raises(KitaruUsageError, match="'charge'"):
        EffectLog().record("charge", who=object())
