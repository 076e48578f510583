"""P1: one more checkpoint in a sequence."""

from __future__ import annotations

from benchmarks.measuring import DBOS, KITARU, LANGGRAPH, LIMIT, Bench, Row

_WARM_UP = 20


def measure(bench: Bench) -> list[Row]:
    calls = bench.size.calls
    with bench.subjects(LIMIT, KITARU, LANGGRAPH, DBOS) as subjects:
        for name, subject in subjects.items():
            subject.do("commit" if name == LIMIT else "sequence", _WARM_UP)
        kitaru = subjects[KITARU]
        kitaru.do("async_sequence", _WARM_UP)
        figures = bench.in_turn(
            {
                LIMIT: lambda: subjects[LIMIT].do("commit", calls),
                KITARU: lambda: kitaru.do("sequence", calls),
                "async": lambda: kitaru.do("async_sequence", calls),
                **{
                    name: lambda name=name: subjects[name].do("sequence", calls)
                    for name in (LANGGRAPH, DBOS)
                    if name in subjects
                },
            }
        )
    limit, in_async = figures.pop(LIMIT), figures.pop("async")
    return [
        Row(
            number="P1",
            work=f"one more checkpoint, in a sequence of {calls:,}",
            limit=limit,
            at_most=1.5,
            figures=figures,
        ),
        Row(work="the same in an async flow", limit=limit, figures={KITARU: in_async}),
    ]
