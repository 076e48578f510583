"""`kitaru executions why`, `diff` and `statistics`: what is to be known of executions beyond their record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from kitaru.cli.output import OutputFormat, print_item, print_text, span_text, table
from kitaru.client import KitaruClient, shapes
from kitaru.client.statistics import FlowStatistics, SpanStatistics
from kitaru.errors import KitaruUsageError

_SPAN = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def why(exec_id: str, *, output: OutputFormat = "text") -> None:
    """Say why an execution is in its state, and what would move it.

    Args:
        exec_id: Its id, or how the id begins.
    """
    explanation = KitaruClient().executions.why(exec_id)
    if output == "json":
        print_item("executions.why", shapes.explanation(explanation))
    else:
        print_text(str(explanation))


def diff(exec_id: str, other_id: str, *, output: OutputFormat = "text") -> None:
    """Compare two executions: inputs, result, and call by call.

    Args:
        exec_id: The one's id, or how the id begins.
        other_id: The other's.
    """
    found = KitaruClient().executions.diff(exec_id, other_id)
    if output == "json":
        print_item("executions.diff", shapes.diff(found))
    else:
        print_text(str(found))


def statistics(
    *, flow: str | None = None, since: str | None = None, output: OutputFormat = "text"
) -> None:
    """Show how flows have fared: counts, success, durations, by flow and checkpoint.

    Args:
        flow: Only this flow.
        since: Only executions created since then: `7d`, `12h`, `30m`, or a date such as 2026-11-01.
    """
    found = KitaruClient().executions.statistics(flow=flow, since=_moment(since))
    if output == "json":
        print_item("executions.statistics", shapes.statistics(found))
        return
    header = ("Flow", "Runs", "Success", "Median", "95 of 100", "Longest", "Recoveries", "Waits")
    print_text(table("Kitaru statistics", header, [_flow_row(one) for one in found.flows]))
    for one in found.flows:
        if one.checkpoints:
            print_text()
            print_text(table(one.flow_name, _CHECKPOINT_HEADER, list(_checkpoint_rows(one))))


_CHECKPOINT_HEADER = (
    "Checkpoint",
    "Calls",
    "Failed",
    "Cached",
    "Reused",
    "Failed tries",
    "Median",
    "Longest",
)


def _flow_row(one: FlowStatistics) -> tuple[str, ...]:
    rate = "-" if one.success_rate is None else f"{one.success_rate:.0%}"
    waits = f"{one.waits.answered} of {one.waits.asked}" if one.waits.asked else "-"
    return (
        *(one.flow_name, str(one.executions), rate),
        *(_seconds(one.durations, which) for which in ("median", "p95", "max")),
        *(str(one.recoveries), waits),
    )


def _checkpoint_rows(one: FlowStatistics) -> Iterator[tuple[str, ...]]:
    for checkpoint in one.checkpoints:
        yield (
            checkpoint.name,
            str(checkpoint.calls),
            str(checkpoint.failed),
            str(checkpoint.cached),
            str(checkpoint.reused),
            str(checkpoint.failed_attempts),
            *(_seconds(checkpoint.durations, which) for which in ("median", "max")),
        )


def _seconds(spans: SpanStatistics | None, which: str) -> str:
    if spans is None:
        return "-"
    known = {"median": spans.median_seconds, "p95": spans.p95_seconds, "max": spans.max_seconds}
    return span_text(timedelta(seconds=known[which]))


def _moment(text: str | None) -> datetime | timedelta | None:
    if text is None:
        return None
    if (found := _SPAN.fullmatch(text.strip())) is not None:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"expected `--since` to be a span such as 7d or 12h, or a date, got: {text!r}"
        raise KitaruUsageError(message) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
