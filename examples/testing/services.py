"""The outside world: what an order does there cannot be taken back. Tests put fakes in its place."""

from __future__ import annotations


def charge_card(amount: int, key: str | None = None) -> None:
    """Under a key that it has seen before, the bank does nothing."""
    raise ConnectionError(f"no bank here takes {amount} under the key {key}")


def send_parcel(item: str, key: str | None = None) -> None:
    raise ConnectionError(f"no post office here sends {item!r} under the key {key}")
