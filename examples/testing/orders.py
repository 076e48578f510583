"""An order that may die anywhere: everything is charged once, and everything is sent."""

from __future__ import annotations

from datetime import datetime

import kitaru
from examples.testing import services
from kitaru import RetryPolicy, checkpoint, flow


def key() -> str:
    """The same in every attempt and after every crash, for the call that asks."""
    call = kitaru.current_call()
    assert call is not None
    return call.idempotency_key


@checkpoint
def pick(item: str, at: datetime) -> str:
    return f"{item}, picked at {at:%H:%M}"


@checkpoint(retries=RetryPolicy(max_attempts=3, delay=60))
def charge(amount: int) -> None:
    services.charge_card(amount, key())


@checkpoint
def send(parcels: list[str]) -> None:
    for parcel in parcels:
        services.send_parcel(parcel, f"{key()}/{parcel}")


@flow
def order(items: list[str]) -> int:
    parcels = [pick(item, kitaru.now()) for item in items]
    charge(10 * len(items))
    if not kitaru.wait(schema=bool, name="send", question="Is the payment in?"):
        return 0
    send(parcels)
    return len(parcels)
