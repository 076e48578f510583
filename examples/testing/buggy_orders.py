"""Four orders that do what they should as long as nothing happens, each with a bug of its own."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from examples.testing import services
from kitaru import checkpoint, flow


@checkpoint
def charge(amount: int) -> None:
    services.charge_card(amount)  # no key: cut off after this line, it is called again


@flow
def order_charged_twice(amount: int) -> None:
    charge(amount)


packed: list[str] = []


@checkpoint
def pack(item: str) -> None:
    packed.append(item)  # only this process knows; nothing of it is recorded


@checkpoint
def send() -> None:
    for item in packed:
        services.send_parcel(item, item)


@flow
def order_sent_empty(item: str) -> None:
    pack(item)
    send()
    packed.clear()


numbers = itertools.count(1)


@checkpoint
def label(number: int) -> str:
    return f"order {number}"


@flow
def order_with_a_number_of_its_own() -> str:
    first = label(next(numbers))  # entered again, it counts again
    return f"{first} of {label(2)}"


@checkpoint
def stamp(item: str, at: datetime) -> str:
    return f"{item} at {at}"


@flow
def order_stamped_now(item: str) -> str:
    return stamp(item, datetime.now(UTC))  # another moment each time the line is reached
