"""P1, P2: one more checkpoint in a sequence, in a file and on Postgres."""

from __future__ import annotations

from benchmarks.measuring import DBOS, KITARU, LANGGRAPH, LIMIT, Bench, Row

_WARM_UP = 20


def measure(bench: Bench) -> list[Row]:
    calls = bench.size.calls
    with bench.subjects(LIMIT, KITARU, LANGGRAPH, DBOS) as subjects:
        for name, subject in subjects.items():
            subject.do("commit" if name == LIMIT else "sequence", _WARM_UP)
        limit, kitaru = subjects[LIMIT], subjects[KITARU]
        # SQLite's log has its full length then; while it grows, every flush takes longer.
        limit.do("commit", calls)
        kitaru.do("async_sequence", _WARM_UP)
        figures = bench.in_turn(
            {
                LIMIT: lambda: limit.do("commit", calls),
                KITARU: lambda: kitaru.do("sequence", calls),
                "async": lambda: kitaru.do("async_sequence", calls),
                **{
                    name: lambda name=name: subjects[name].do("sequence", calls)
                    for name in (LANGGRAPH, DBOS)
                    if name in subjects
                },
            }
        )
        in_new_files = bench.in_turn(
            {
                LIMIT: lambda: limit.do("first", calls),
                KITARU: lambda: kitaru.do("first_sequence", calls),
            }
        )
    steady, in_async = figures.pop(LIMIT), figures.pop("async")
    return [
        Row(
            number="P1",
            work=f"one more checkpoint, in the first {calls:,} of a new store",
            limit=in_new_files.pop(LIMIT),
            at_most=1.5,
            figures=in_new_files,
        ),
        Row(work="the same in a store that has grown", limit=steady, figures=figures),
        Row(work="the same in an async flow", limit=steady, figures={KITARU: in_async}),
    ]


def measure_on_postgres(bench: Bench) -> list[Row]:
    calls = bench.size.calls
    with bench.subjects_on_postgres(LIMIT, KITARU, DBOS) as subjects:
        limit, kitaru = subjects[LIMIT], subjects[KITARU]
        # Postgres' log takes up files that it has by then, instead of making them.
        limit.do("commit", calls)
        for operation in ("sequence", "async_sequence"):
            kitaru.do(operation, calls)
        others = {name: subjects[name] for name in (DBOS,) if name in subjects}
        for other in others.values():
            other.do("sequence", _WARM_UP)
        figures = bench.in_turn(
            {
                LIMIT: lambda: limit.do("commit", calls),
                KITARU: lambda: kitaru.do("sequence", calls),
                "async": lambda: kitaru.do("async_sequence", calls),
                **{
                    name: lambda other=other: other.do("sequence", calls)
                    for name, other in others.items()
                },
            }
        )
    limits, in_async = figures.pop(LIMIT), figures.pop("async")
    return [
        Row(
            number="P2",
            work="one more checkpoint, on Postgres",
            limit=limits,
            at_most=1.5,
            figures=figures,
        ),
        Row(work="the same in an async flow", limit=limits, figures={KITARU: in_async}),
    ]
