"""Growth: a checkpoint must not cost more because there is much already."""

from __future__ import annotations

from benchmarks.measuring import KITARU, LIMIT, Bench, Figure, Row

# Flat, as far as a busy machine lets that be seen.
_FLAT = 1.25


def measure(bench: Bench) -> list[Row]:
    return [*_by_calls(bench), *_by_executions(bench)]


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
    more, (few, many) = bench.size.more, bench.size.stored
    with bench.subject(KITARU) as small, bench.subject(KITARU) as large:
        small.do("fill", few)
        large.do("fill", many)
        small.do("sequence", more)
        large.do("sequence", more)
        figures = bench.in_turn(
            {
                LIMIT: lambda: small.do("sequence", more),
                "large": lambda: large.do("sequence", more),
            }
        )
    return [
        _row(
            f"one more checkpoint, {many:,} executions in the store instead of {few}",
            least=figures[LIMIT],
            figure=figures["large"],
        )
    ]


def _row(work: str, *, least: Figure, figure: Figure) -> Row:
    return Row(number="Growth", work=work, limit=least, at_most=_FLAT, figures={KITARU: figure})
