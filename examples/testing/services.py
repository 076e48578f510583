"""The outside world: what an order does there cannot be taken back. Tests put fakes in its place."""

from __future__ import annotations


def charge_card(amount: int, key: str | None = None) -> None:
    """Under a key that it has seen before, the bank does nothing."""
    raise ConnectionError("the bank is not a part of this example")


def send_parcel(item: str, key: str | None = None) -> None:
    raise ConnectionError("nor is the post office")
