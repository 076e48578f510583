"""A run asked for twice under one key: there is one execution."""

from __future__ import annotations

import kit

from kitaru import checkpoint, flow


@checkpoint
def charge(amount: int) -> str:
    kit.effect(f"charge {amount}")
    return f"charged {amount}"


@flow
def pay(amount: int) -> list[str]:
    return [charge(amount), charge(amount + 1)]


if __name__ == "__main__":
    kit.arm()
    first = kit.start(pay, 5, idempotency_key="order-5")
    second = kit.start(pay, 5, idempotency_key="order-5")
    assert first.exec_id == second.exec_id
    assert first.wait() == second.wait()
    kit.disarm()
