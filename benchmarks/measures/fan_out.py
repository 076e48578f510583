"""P4: checkpoints of 16 concurrent submissions, which share commits, in a file and on Postgres."""

from __future__ import annotations

from benchmarks.measuring import KITARU, LIMIT, Bench, Row

_WARM_UP = 50


def measure(bench: Bench) -> list[Row]:
    calls = bench.size.calls
    with bench.subjects(LIMIT, KITARU) as subjects:
        limit, kitaru = subjects[LIMIT], subjects[KITARU]
        limit.do("commit", calls)  # its log has its full length then
        kitaru.do("fan_out", calls)
        kitaru.do("async_fan_out", _WARM_UP)
        new = bench.in_turn(
            {
                LIMIT: lambda: limit.do("first", calls),
                KITARU: lambda: kitaru.do("first_fan_out", calls),
            }
        )
        figures = bench.in_turn(
            {
                LIMIT: lambda: limit.do("commit", calls),
                KITARU: lambda: kitaru.do("fan_out", calls),
                "async": lambda: kitaru.do("async_fan_out", calls),
            }
        )
    return [
        Row(
            number="P4",
            work=f"each of {calls:,} checkpoints, 16 at once in threads, in a new store",
            limit=new.pop(LIMIT),
            at_most=0.5,
            figures=new,
        ),
        Row(
            work="the same in a store that has grown",
            limit=figures[LIMIT],
            figures={KITARU: figures[KITARU]},
        ),
        Row(
            work="the same on an event loop",
            limit=figures[LIMIT],
            figures={KITARU: figures["async"]},
        ),
    ]


def measure_on_postgres(bench: Bench) -> list[Row]:
    calls = bench.size.calls
    with bench.subjects_on_postgres(LIMIT, KITARU) as subjects:
        limit, kitaru = subjects[LIMIT], subjects[KITARU]
        limit.do("commit", calls)
        kitaru.do("fan_out", calls)
        kitaru.do("async_fan_out", _WARM_UP)
        figures = bench.in_turn(
            {
                LIMIT: lambda: limit.do("commit", calls),
                KITARU: lambda: kitaru.do("fan_out", calls),
                "async": lambda: kitaru.do("async_fan_out", calls),
            }
        )
    limits, in_async = figures.pop(LIMIT), figures.pop("async")
    return [
        Row(
            number="P4",
            work=f"each of {calls:,} checkpoints, 16 at once in threads, on Postgres",
            limit=limits,
            at_most=0.5,
            figures=figures,
        ),
        Row(work="the same on an event loop", limit=limits, figures={KITARU: in_async}),
    ]
