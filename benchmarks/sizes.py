"""How much work a run does: all of it, less, or just enough to see that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much work a run does.

    Attributes:
        rounds: How often everything is measured; the median counts.
        calls: Of a sequence, or side by side.
        executions: Whole ones in a round.
        more: Calls that are measured on top of those already there.
        recorded: Calls of an execution that is recovered or has grown, small and large.
        stored: Executions of a store, from few to very many.
        waiting: Executions that wait at the same time.
        rest_seconds: For how long a process at rest is looked at.
        kills: Runners that are struck down, in each way.
        processes: Fresh ones for each figure of start-up.
    """

    rounds: int
    calls: int
    executions: int
    more: int
    recorded: tuple[int, int]
    stored: tuple[int, ...]
    waiting: int
    rest_seconds: float
    kills: int
    processes: int


SIZES = {
    "full": Size(
        rounds=15,
        calls=1_000,
        executions=100,
        more=200,
        recorded=(1_000, 10_000),
        stored=(1_000, 10_000, 100_000, 1_000_000),
        waiting=100_000,
        rest_seconds=30.0,
        kills=20,
        processes=10,
    ),
    "quick": Size(
        rounds=5,
        calls=500,
        executions=30,
        more=100,
        recorded=(100, 1_000),
        stored=(1_000, 10_000),
        waiting=1_000,
        rest_seconds=3.0,
        kills=3,
        processes=5,
    ),
    "tiny": Size(
        rounds=1,
        calls=20,
        executions=2,
        more=5,
        recorded=(10, 100),
        stored=(20, 200),
        waiting=20,
        rest_seconds=0.2,
        kills=1,
        processes=1,
    ),
}
