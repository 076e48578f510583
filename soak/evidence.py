"""The books of a soak, read and put in order for those who check."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from soak.book import (
    ANSWERS,
    CANCELS,
    EFFECTS,
    ENDS,
    EXITS,
    FACTS,
    ORDERS,
    PRUNED,
    SAMPLES,
    STRIKES,
    Book,
    Line,
)
from soak.fleet import KILL, STOP

# A strike is noted just before it is done; a body may begin in between.
_SLACK = 1_000_000


@dataclass(frozen=True)
class Evidence:
    """Everything that was noted in a folder."""

    orders: list[Line]
    effects: dict[tuple[str, str], list[Line]]
    facts: dict[str, list[Line]]
    answers: list[Line]
    cancels: list[Line]
    strikes: list[Line]
    exits: list[Line]
    pruned: list[Line]
    samples: list[Line]
    ends: list[Line]
    logs: list[Path]

    @classmethod
    def of(cls, folder: Path) -> Evidence:
        book = Book(folder)
        effects: dict[tuple[str, str], list[Line]] = defaultdict(list)
        for line in book.read(EFFECTS):
            effects[line["exec_id"], line["position"]].append(line)
        for lines in effects.values():
            lines.sort(key=lambda line: line["at"])
        facts: dict[str, list[Line]] = defaultdict(list)
        for line in book.read(FACTS):
            facts[line["exec_id"]].append(line)
        several = {
            chapter: sorted(book.read(chapter), key=lambda line: line["at"])
            for chapter in (ORDERS, ANSWERS, CANCELS, STRIKES, EXITS, PRUNED, SAMPLES, ENDS)
        }
        logs = sorted(folder.rglob("*.log"))
        return cls(effects=dict(effects), facts=dict(facts), logs=logs, **several)

    @cached_property
    def last_facts(self) -> dict[str, Line]:
        """What the record last said of each execution."""
        return {exec_id: lines[-1] for exec_id, lines in self.facts.items()}

    @cached_property
    def strikes_of(self) -> dict[int, list[Line]]:
        """What was done to each process."""
        found: dict[int, list[Line]] = defaultdict(list)
        for strike in self.strikes:
            found[strike["victim"]].append(strike)
        return found

    @cached_property
    def cancelled(self) -> set[str]:
        """Executions whose cancelling was accepted, with their children."""
        asked = {line["exec_id"] for line in self.cancels if line["is_accepted"]}
        children = {f["exec_id"] for f in self.last_facts.values() if f["parent_id"] in asked}
        return asked | children

    def answers_of(self, fact: Line) -> list[int | None]:
        """Return what the record says that the questions of an execution were answered."""
        return [
            None if wait["answer"] is None else json.loads(wait["answer"]) for wait in fact["waits"]
        ]

    def was_lost(self, pid: int, between: tuple[int, int]) -> bool:
        """Whether a process was killed or stopped between two moments."""
        since, until = between
        return any(
            strike["kind"] in (KILL, STOP) and since - _SLACK <= strike["at"] <= until
            for strike in self.strikes_of.get(pid, ())
        )

    def had_been_stopped(self, pid: int, before: int) -> bool:
        """Whether a process was stopped at some time before a moment."""
        return any(
            strike["kind"] == STOP and strike["at"] <= before
            for strike in self.strikes_of.get(pid, ())
        )
