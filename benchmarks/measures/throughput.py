"""Whole executions with ten checkpoints each from sixteen threads of one process, on one Postgres server."""

from __future__ import annotations

from benchmarks.crowd import CHECKPOINTS, WIDTH
from benchmarks.measuring import DBOS, KITARU, Bench, Figure, Row, Unit


def measure(bench: Bench) -> list[Row]:
    count = max(WIDTH, bench.size.executions * 2)
    with bench.subjects_on_postgres(KITARU, DBOS) as subjects:
        for subject in subjects.values():
            subject.do("crowd", count)
        seconds = bench.in_turn(
            {
                name: lambda subject=subject: subject.do("crowd", count)
                for name, subject in subjects.items()
            }
        )
    return [
        Row(
            work=f"executions with {CHECKPOINTS} checkpoints each from {WIDTH} threads, on Postgres",
            unit=Unit.PER_SECOND,
            figures={
                name: Figure([1 / each for each in figure.seconds])
                for name, figure in seconds.items()
            },
        )
    ]
