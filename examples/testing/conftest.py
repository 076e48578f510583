from __future__ import annotations

import pytest

from examples.testing import services
from kitaru.testing import EffectLog


@pytest.fixture(autouse=True)
def fake_services(effects: EffectLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def charge_card(amount: int, key: str | None = None) -> None:
        effects.record("charge", key, amount=amount)

    def send_parcel(item: str, key: str | None = None) -> None:
        effects.record("parcel", key, item=item)

    monkeypatch.setattr(services, "charge_card", charge_card)
    monkeypatch.setattr(services, "send_parcel", send_parcel)
