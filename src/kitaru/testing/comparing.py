"""Compares what became of two runs of the same flow: their ends, and their effects."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

UserValue = Any
Report = Mapping[str, Any]
Path = tuple[str, ...]

_SHOWN_CHARACTERS = 120


class Expected:
    """How a run goes if nobody disturbs it.

    Args:
        report: Of one undisturbed run.
        other: Of another; what differs between the two, such as ids and times, is not compared.
    """

    def __init__(self, report: Report, other: Report) -> None:
        self._report = report
        self._varying = set(_differences(report["outcome"], other["outcome"]))
        self._varying_facts = {
            (name, fact)
            for name, values in _facts(report).items()
            for fact in values.keys() | _facts(other).get(name, {}).keys()
            if values.get(fact) != _facts(other).get(name, {}).get(fact)
        }

    def problems(self, found: Report) -> list[str]:
        """Return what became of another run that should not have, a line each."""
        return [*self._ended_differently(found), *self._other_effects(found)]

    def _ended_differently(self, found: Report) -> Iterator[str]:
        expected, present = self._report["outcome"], found["outcome"]
        for path in _differences(expected, present):
            if any(path[: len(varying)] == varying for varying in self._varying):
                continue
            if expected["status"] != present["status"]:
                yield f"it ended as {_ending(present)}, not as {_ending(expected)}"
                return
            where = _written(path)
            yield f"{where} is {_shown(present, path)}, not {_shown(expected, path)}"

    def _other_effects(self, found: Report) -> Iterator[str]:
        expected, present = self._count(self._report), self._count(found)
        for effect in dict.fromkeys((*expected, *present)):
            before, now = expected[effect], present[effect]
            if now > before > 0:
                times = "once" if before == 1 else f"{before} times"
                yield f"effect {effect} happened {_times(now)}, not {times}"
            elif now > before:
                yield f"effect {effect} happened, which it should not have"
            elif now < before:
                lost = "was lost" if now == 0 else f"happened {_times(now)}, not {before} times"
                yield f"effect {effect} {lost}"

    def _count(self, report: Report) -> collections.Counter[str]:
        counts: collections.Counter[str] = collections.Counter()
        for effect in report["effects"]:
            facts = {
                fact: "…" if (effect["name"], fact) in self._varying_facts else value
                for fact, value in effect["facts"].items()
            }
            told = ", ".join(f"{fact}={_literal(value)}" for fact, value in facts.items())
            counts[f"{effect['name']}({told})"] += 1
        return counts


def _facts(report: Report) -> dict[str, dict[str, list[str]]]:
    """Return for each kind of effect the values of each fact, in no particular order."""
    found: dict[str, dict[str, list[str]]] = {}
    for effect in report["effects"]:
        for fact, value in effect["facts"].items():
            found.setdefault(effect["name"], {}).setdefault(fact, []).append(json.dumps(value))
    for values in found.values():
        for texts in values.values():
            texts.sort()
    return found


def _differences(one: UserValue, other: UserValue, path: Path = ()) -> Iterator[Path]:
    """Yield where two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        for key in dict.fromkeys((*left, *right)):
            if key not in left or key not in right:
                yield (*path, key)
            else:
                yield from _differences(left[key], right[key], (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):  # pyright: ignore[reportUnknownArgumentType] - of JSON values
        pairs = zip(cast("list[Any]", one), cast("list[Any]", other), strict=True)
        for number, (left, right) in enumerate(pairs):
            yield from _differences(left, right, (*path, str(number)))
    elif one != other:
        yield path


def _ending(outcome: Mapping[str, Any]) -> str:
    if outcome.get("failure"):
        failure = outcome["failure"]
        first = str(failure["message"]).partition("\n")[0]
        return f"{outcome['status']} ({failure['type']}: {first[:_SHOWN_CHARACTERS]})"
    return str(outcome["status"])


def _written(path: Path) -> str:
    head, *rest = path
    return f"its {head}" + "".join(
        f"[{part}]" if part.isdigit() else f"[{part!r}]" for part in rest
    )


def _shown(value: UserValue, path: Path) -> str:
    for part in path:
        if isinstance(value, dict):
            if part not in value:
                return "nothing"
            value = cast("dict[str, Any]", value)[part]
        else:
            value = value[int(part)]
    return _literal(value)


def _literal(value: UserValue) -> str:
    text = "…" if value == "…" else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
