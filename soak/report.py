"""The report of a soak: what was done, what was promised, what it took."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence

from soak.book import Line
from soak.checking import Verdict
from soak.evidence import Evidence
from soak.fleet import CONTINUE
from soak.sampling import growth

_SHOWN = 5


def report(evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """Return the report as text."""
    parts = (_done(evidence), _promises(verdicts), _taken(evidence))
    return "\n\n".join("\n".join(part) for part in parts)


def _done(evidence: Evidence) -> Iterator[str]:
    facts = list(evidence.last_facts.values())
    yield "Done"
    yield from _line("orders", len(evidence.orders), _counts(o["flow"] for o in evidence.orders))
    yield from _line("executions", len(facts), _counts(fact["status"] for fact in facts))
    calls = [call for fact in facts for call in fact["calls"]]
    yield from _line("calls", len(calls), _counts(call["kind"] for call in calls))
    bodies = sum(map(len, evidence.effects.values()))
    again = bodies - len(evidence.effects)
    yield from _line("bodies", bodies, f"{again} of them again")
    strikes = [strike["kind"] for strike in evidence.strikes if strike["kind"] != CONTINUE]
    yield from _line("strikes", len(strikes), _counts(strikes))
    lost = sum(fact["recoveries"] for fact in facts)
    yield from _line("recoveries", lost, "executions that lost their process and went on")
    answers = [line["outcome"] for line in evidence.answers]
    yield from _line("answers", len(answers), _counts(answers))
    cancels = ["accepted" if line["is_accepted"] else "too late" for line in evidence.cancels]
    yield from _line("cancels", len(cancels), _counts(cancels))
    yield from _line("pruned", sum(len(line["exec_ids"]) for line in evidence.pruned), "")
    yield from _spans("accepting", [order["seconds"] for order in evidence.orders])
    yield from _spans("sequential", [_seconds(f) for f in facts if f["flow"] == "sequential"])


def _spans(name: str, seconds: list[float]) -> Iterator[str]:
    if seconds:
        seconds.sort()
        middle, worst = seconds[len(seconds) // 2], seconds[-1]
        yield f"  {name:<12} {middle:>7.2f} s at the median, {worst:.2f} s at worst"


def _promises(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield "Promises"
    for verdict in verdicts:
        broken = len(verdict.broken)
        yield f"  {f'BROKEN {broken}x' if broken else 'held':<12} {verdict.promise}"
        yield from (f"      {example}" for example in verdict.broken[:_SHOWN])
        if broken > _SHOWN:
            yield f"      and {broken - _SHOWN} more"


def _taken(evidence: Evidence) -> Iterator[str]:
    yield "Taken (median of the first third, of the last)"
    for name, first, last, is_fine in growth(evidence.samples):
        judged = {True: "fine", False: "GROWS", None: "not judged"}[is_fine]
        yield f"  {name:<28} {_amount(name, first):>10} {_amount(name, last):>10}  {judged}"


def _line(name: str, count: int, more: str) -> Iterator[str]:
    yield f"  {name:<12} {count:>7}{f'  {more}' if more else ''}"


def _counts(words: Iterator[str] | Sequence[str]) -> str:
    found = collections.Counter(words)
    return ", ".join(f"{count} {word}" for word, count in found.most_common())


def _seconds(fact: Line) -> float:
    return ((fact["ended_at"] or fact["at"]) - fact["created_at"]) / 1e6


def _amount(name: str, value: float) -> str:
    is_bytes = name.rpartition(": ")[2] in {"memory", "database", "log", "blobs", "free"}
    return f"{value / 1024 / 1024:,.1f} MiB" if is_bytes else f"{value:,.0f}"
