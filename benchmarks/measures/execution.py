"""P3: a whole execution with one checkpoint, started and waited for, in a file and on Postgres."""

from __future__ import annotations

from benchmarks.measuring import DBOS, KITARU, LANGGRAPH, LIMIT, Bench, Row

_COMMITS = 5  # for each execution, so that the limit is measured for as long


def measure(bench: Bench) -> list[Row]:
    count = bench.size.executions
    with bench.subjects(LIMIT, KITARU, LANGGRAPH, DBOS) as subjects:
        for name, subject in subjects.items():
            subject.do("commit" if name == LIMIT else "executions", min(10, count))
        # SQLite's logs have their full length then.
        subjects[LIMIT].do("commit", bench.size.calls)
        subjects[KITARU].do("executions", count)
        new = bench.in_turn(
            {
                LIMIT: lambda: subjects[LIMIT].do("first", count * _COMMITS),
                KITARU: lambda: subjects[KITARU].do("first_executions", count),
            }
        )
        figures = bench.in_turn(
            {
                LIMIT: lambda: subjects[LIMIT].do("commit", count * _COMMITS),
                **{
                    name: lambda subject=subject: subject.do("executions", count)
                    for name, subject in subjects.items()
                    if name != LIMIT
                },
            }
        )
    return [
        Row(
            number="P3",
            work="whole execution with one checkpoint, in a new store",
            limit=new.pop(LIMIT),
            at_most=5.0,
            figures=new,
        ),
        Row(work="the same in a store that has grown", limit=figures.pop(LIMIT), figures=figures),
    ]


def measure_on_postgres(bench: Bench) -> list[Row]:
    count = bench.size.executions
    with bench.subjects_on_postgres(LIMIT, KITARU, DBOS) as subjects:
        # Postgres' log takes up files that it has by then, instead of making them.
        subjects[LIMIT].do("commit", bench.size.calls)
        others = {name: subject for name, subject in subjects.items() if name != LIMIT}
        for other in others.values():
            other.do("executions", count)
        figures = bench.in_turn(
            {
                LIMIT: lambda: subjects[LIMIT].do("commit", count * _COMMITS),
                **{
                    name: lambda other=other: other.do("executions", count)
                    for name, other in others.items()
                },
            }
        )
    return [
        Row(
            number="P3",
            work="whole execution with one checkpoint, on Postgres",
            limit=figures.pop(LIMIT),
            at_most=6.0,
            figures=figures,
        )
    ]
