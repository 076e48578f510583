"""The measures, by the name under which `python -m benchmarks` knows them."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.measures import (
    answers,
    checkpoint,
    execution,
    fail_over,
    fan_out,
    growth,
    pages,
    recovery,
    server,
    start_up,
    throughput,
    waiting,
    waiting_behind_server,
)
from benchmarks.measuring import Bench, Row

Measure = Callable[[Bench], list[Row]]

MEASURES: dict[str, Measure] = {
    "p1": checkpoint.measure,
    "p2": checkpoint.measure_on_postgres,
    "p3": execution.measure,
    "p3-postgres": execution.measure_on_postgres,
    "p4": fan_out.measure,
    "p4-postgres": fan_out.measure_on_postgres,
    "p5": recovery.measure,
    "p6": start_up.measure,
    "p7": server.measure,
    "p8": answers.measure,
    "p8-postgres": answers.measure_on_postgres,
    "p8-server": answers.measure_through_server,
    "p9": fail_over.measure,
    "p10": pages.measure,
    "p10-postgres": pages.measure_on_postgres,
    "p11": waiting.measure,
    "p11-server": waiting_behind_server.measure,
    "growth": growth.measure,
    "growth-postgres": growth.measure_on_postgres,
    "throughput": throughput.measure,
}
