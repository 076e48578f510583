"""Growth: a checkpoint must not cost more because there is much already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from benchmarks.measuring import KITARU, LIMIT, LIMIT_ON_POSTGRES, Bench, Figure, Row, Subject
from benchmarks.seeding import store_of
from benchmarks.seeding_postgres import database_of

# Flat, as far as a busy machine lets that be seen.
_FLAT = 1.25


def measure(bench: Bench) -> list[Row]:
    return [*_by_calls(bench), *_by_executions(bench)]


def measure_on_postgres(bench: Bench) -> list[Row]:
    with ExitStack() as stack:
        raw = stack.enter_context(bench.subject(LIMIT_ON_POSTGRES, url=bench.postgres.empty()))
        stores = {
            count: stack.enter_context(bench.subject(KITARU, url=database_of(bench, count)))
            for count in bench.size.stored
        }
        return _by_operations(bench, raw, stores, ", on Postgres")


def _by_calls(bench: Bench) -> list[Row]:
    more = bench.size.more
    with bench.subject(KITARU) as kitaru:
        for calls in bench.size.recorded:
            kitaru.do("grow", calls)

        def after_none() -> float:
            # What has none must be new in every round.
            kitaru.do("grow", 0)
            seconds = kitaru.do("after_0", more)
            kitaru.do("end", 0)
            return seconds

        after_none()
        figures = bench.in_turn(
            {
                LIMIT: after_none,
                **{
                    str(calls): lambda calls=calls: kitaru.do(f"after_{calls}", more)
                    for calls in bench.size.recorded
                },
            }
        )
        for calls in bench.size.recorded:
            kitaru.do("end", calls)
    return [
        _row(
            f"one more checkpoint, {calls:,} calls in the execution instead of none",
            least=figures[LIMIT],
            figure=figures[str(calls)],
        )
        for calls in bench.size.recorded
    ]


def _by_executions(bench: Bench) -> list[Row]:
    with ExitStack() as stack:
        raw = stack.enter_context(bench.subject(LIMIT))
        stores = {
            count: stack.enter_context(bench.subject(KITARU, store_of(bench, count)))
            for count in bench.size.stored
        }
        return _by_operations(bench, raw, stores, "")


def _by_operations(
    bench: Bench, raw: Subject, stores: Mapping[int, Subject], where: str
) -> list[Row]:
    raw.do("commit", bench.size.calls)
    return [
        row
        for operation, work, times in (
            ("sequence", "one more checkpoint", bench.size.more),
            ("executions", "a whole execution with one checkpoint", bench.size.executions),
            ("claims", "claim of the only one that is pending", bench.size.executions),
        )
        for row in _by_stores(bench, raw, stores, operation, f"{work}{where}", times)
    ]


def _by_stores(
    bench: Bench, raw: Subject, stores: Mapping[int, Subject], operation: str, work: str, times: int
) -> Iterator[Row]:
    """Yield what an operation costs in stores of different sizes, beside a raw commit and the smallest."""
    for store in stores.values():
        store.do(operation, times)  # the log has its length then
    figures = bench.in_turn(
        {
            LIMIT: lambda: raw.do("commit", bench.size.more),
            **{
                str(count): lambda store=store: store.do(operation, times)
                for count, store in stores.items()
            },
        }
    )
    least, *more = stores
    yield Row(
        work=f"{work}, {least:,} executions in the store, beside a raw commit",
        limit=figures[LIMIT],
        figures={KITARU: figures[str(least)]},
    )
    few = Figure(figures[str(least)].seconds)
    for count in more:
        many = Figure(figures[str(count)].seconds, limits=few.seconds)
        yield _row(f"the same, {count:,} instead of {least:,}", least=few, figure=many)


def _row(work: str, *, least: Figure, figure: Figure) -> Row:
    return Row(number="Growth", work=work, limit=least, at_most=_FLAT, figures={KITARU: figure})
