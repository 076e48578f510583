"""What must be true of a soak, each promise a function that returns what breaks it."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from soak.book import Line
from soak.evidence import Evidence
from soak.expecting import CANCELLED, COMPLETED, WAITING, is_expected
from soak.person import ACCEPTED, INVALID
from soak.sampling import growth

_FINISHED = {"completed", "failed", "cancelled"}
# Failures of flows are recorded, not logged; what comes with a traceback is Kitaru's own.
_TRACEBACK = "Traceback (most recent call last)"
_DURABLE = {"completed", "cached", "failed"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise, and each case in which it was not kept."""

    promise: str
    broken: list[str]


def check(evidence: Evidence) -> list[Verdict]:
    """Return what became of every promise."""
    return [Verdict(promise, list(find(evidence))) for promise, find in PROMISES.items()]


def _every_run_ends(evidence: Evidence) -> Iterator[str]:
    for order in evidence.orders:
        fact = evidence.last_facts.get(order["exec_ids"][0])
        if fact is None:
            yield f"{_name(order)} is gone without having ended"
        elif fact["status"] not in _FINISHED and (fact["flow"], fact["status"]) != (
            "asks_nobody",
            WAITING,
        ):
            yield f"{_name(fact)} is {fact['status']} at the end"


def _results_are_right(evidence: Evidence) -> Iterator[str]:
    inputs = {order["exec_ids"][0]: order["arguments"] for order in evidence.orders}
    for fact in evidence.last_facts.values():
        exec_id = fact["exec_id"]
        if fact["inputs"] != inputs.get(exec_id, fact["inputs"]):
            yield f"{_name(fact)} has inputs {fact['inputs']}, not {inputs[exec_id]}"
        if fact["status"] == CANCELLED and exec_id in evidence.cancelled:
            continue
        if fact["status"] not in _FINISHED and fact["flow"] != "asks_nobody":
            continue  # told by another promise
        answers = evidence.answers_of(fact)
        if not is_expected(fact["flow"], fact["inputs"], answers, fact["status"], fact["result"]):
            yield (
                f"{_name(fact)} is {fact['status']} ({fact['reason']}, {fact['failure']}) with another"
                f" result than its inputs {fact['inputs']} and answers {answers} make"
            )


def _recorded_bodies_stay(evidence: Evidence) -> Iterator[str]:
    for fact in evidence.last_facts.values():
        for call in fact["calls"]:
            begun = evidence.effects.get((fact["exec_id"], call["position"]), [])
            for effect in begun:
                if _began_after(call, effect) and not _is_late_loser(evidence, call, effect):
                    yield (
                        f"{_name(fact)}: {call['position']} was recorded at {call['ended_at']} under epoch"
                        f" {call['epoch']} and began again at {effect['at']} in process {effect['pid']},"
                        f" attempt {effect['attempt']}, under epoch {effect['epoch']}"
                    )


def _began_after(call: Line, effect: Line) -> bool:
    if call["status"] in _DURABLE and effect["at"] > call["ended_at"]:
        return True
    return any(
        tried["number"] == effect["attempt"] and tried["ended_at"] < effect["at"]
        for tried in call["attempts"]
    )


def _is_late_loser(evidence: Evidence, call: Line, effect: Line) -> bool:
    """Whether a process that was stopped right before the body began it when it went on.

    Such a process has lost the execution and cannot record anything; only the body could not be held up.
    """
    is_older = effect["epoch"] < call["epoch"]
    return is_older and evidence.had_been_stopped(effect["pid"], effect["at"])


def _repetitions_are_explained(evidence: Evidence) -> Iterator[str]:
    for (exec_id, position), begun in evidence.effects.items():
        fact = evidence.last_facts.get(exec_id)
        recorded = _attempts_of(fact, position)
        for former, latter in itertools.pairwise(begun):
            if latter["attempt"] > former["attempt"]:
                is_explained = recorded is None or former["attempt"] in recorded
            elif latter["epoch"] > former["epoch"]:
                is_explained = evidence.was_lost(former["pid"], (former["at"], latter["at"]))
            else:
                # One who had lost the execution without knowing comes after the one who has it.
                is_explained = latter["epoch"] < former["epoch"] and evidence.had_been_stopped(
                    latter["pid"], latter["at"]
                )
            if not is_explained:
                yield (
                    f"execution {exec_id}: {position} began in process {former['pid']} (attempt"
                    f" {former['attempt']}, epoch {former['epoch']}, {former['at']}) and again in"
                    f" {latter['pid']} (attempt {latter['attempt']}, epoch {latter['epoch']},"
                    f" {latter['at']}), and nothing was done to the former"
                )


def _attempts_of(fact: Line | None, position: str) -> set[int] | None:
    if fact is None:
        return None
    calls = [call for call in fact["calls"] if call["position"] == position]
    return {tried["number"] for call in calls for tried in call["attempts"]}


def _results_have_bodies(evidence: Evidence) -> Iterator[str]:
    for fact in evidence.last_facts.values():
        for call in fact["calls"]:
            key = (fact["exec_id"], call["position"])
            if call["kind"] == "checkpoint" and call["status"] in _DURABLE:
                if key not in evidence.effects:
                    yield f"{_name(fact)}: {call['position']} has an outcome, but its body never began"
            elif call["status"] not in _DURABLE and fact["status"] == COMPLETED:
                yield f"{_name(fact)} is completed, but {call['position']} is {call['status']}"


def _one_execution_per_key(evidence: Evidence) -> Iterator[str]:
    for order in evidence.orders:
        if len(set(order["exec_ids"])) > 1:
            yield f"{order['key']} was accepted as {' and as '.join(order['exec_ids'])}"
    keys = collections.Counter(f["key"] for f in evidence.last_facts.values() if f["key"])
    for key, count in keys.items():
        if count > 1:
            yield f"{count} executions have the key {key}"


def _children_are_single(evidence: Evidence) -> Iterator[str]:
    facts = evidence.last_facts.values()
    children = collections.Counter(fact["parent_id"] for fact in facts)
    for fact in facts:
        count = children[fact["exec_id"]]
        if fact["flow"] == "family" and fact["status"] == COMPLETED:
            if count != fact["inputs"]["children"]:
                yield f"{_name(fact)} has {count} children, not {fact['inputs']['children']}"
        elif fact["flow"] != "family" and count:
            yield f"{_name(fact)} has {count} children, but starts none"


def _answers_are_those_given(evidence: Evidence) -> Iterator[str]:
    given: dict[tuple[str, str], list[Line]] = collections.defaultdict(list)
    for line in evidence.answers:
        where = (line["exec_id"], line["wait_id"])
        if line["outcome"] == ACCEPTED:
            given[where].append(line)
        is_nonsense = line["value"] == "nonsense"
        if is_nonsense is not (line["outcome"] == INVALID) and line["outcome"] in {
            ACCEPTED,
            INVALID,
        }:
            yield f"{line['value']!r} to {where} was {line['outcome']}"
    for where, lines in given.items():
        if len(lines) > 1:
            yield f"{len(lines)} answers to {where} were accepted"
    for fact in evidence.last_facts.values():
        for wait, answer in zip(fact["waits"], evidence.answers_of(fact), strict=True):
            lines = given.pop((fact["exec_id"], wait["wait_id"]), [])
            values = [line["value"] for line in lines]
            # Who has given an answer may have been ended before it could note that.
            is_kept = values == (
                [] if wait["status"] in {"expired", "closed", "open"} else [answer]
            )
            if not is_kept:
                yield f"{_name(fact)}: {wait['wait_id']} is {wait['status']} {answer}, given was {values}"
    for where in given:
        yield f"the answer to {where} was accepted, and nothing knows of it"


def _nothing_runs_without_process(evidence: Evidence) -> Iterator[str]:
    for end in evidence.ends:
        yield from (f"execution {exec_id} is still running" for exec_id in end["running"])


def _processes_do_as_told(evidence: Evidence) -> Iterator[str]:
    for line in evidence.exits:
        if line["problem"] is not None:
            yield f"{line['role']} {line['victim']} {line['problem']}"


def _workers_are_listed_once(evidence: Evidence) -> Iterator[str]:
    listed = {owner for sample in evidence.samples for owner in sample["owners"]}
    # What follows the last slash tells apart what is the same process.
    for process, count in collections.Counter(o.rpartition("/")[0] for o in listed).items():
        if count > 1:
            yield f"process {process} was listed as {count} workers"


def _nobody_logs_a_mistake(evidence: Evidence) -> Iterator[str]:
    for log in evidence.logs:
        count = log.read_text(errors="replace").count(_TRACEBACK)
        if count:
            yield f"{count} tracebacks in {log}"


def _store_is_whole(evidence: Evidence) -> Iterator[str]:
    if not evidence.ends:
        yield "the soak has not come to its end"
    for end in evidence.ends:
        yield from end["verified"]


def _nothing_changes_after_its_end(evidence: Evidence) -> Iterator[str]:
    for lines in evidence.facts.values():
        finished = [line for line in lines if line["status"] in _FINISHED]
        for line in finished[1:]:
            if {**line, "at": 0, "pid": 0} != {**finished[0], "at": 0, "pid": 0}:
                yield f"{_name(line)} was {finished[0]['status']} and is another one now"


def _nothing_grows(evidence: Evidence) -> Iterator[str]:
    for name, first, last, is_fine in growth(evidence.samples):
        if is_fine is False:
            yield f"{name}: {first:,.0f} in the first third, {last:,.0f} in the last"


def _name(line: Line) -> str:
    exec_id = line.get("exec_id") or line["exec_ids"][0]
    return f"execution {exec_id} of {line['flow']}"


PROMISES: Mapping[str, Callable[[Evidence], Iterator[str]]] = {
    "every accepted run ends, or waits for what nobody gave": _every_run_ends,
    "results follow from inputs and answers": _results_are_right,
    "no recorded call's body begins again": _recorded_bodies_stay,
    "a body runs twice only where a kill, stop or failure explains it": _repetitions_are_explained,
    "what has an outcome has run": _results_have_bodies,
    "one execution per idempotency key": _one_execution_per_key,
    "each child is started once": _children_are_single,
    "answers are the ones given, one for each question": _answers_are_those_given,
    "what is over does not change": _nothing_changes_after_its_end,
    "nothing is left running by a dead process": _nothing_runs_without_process,
    "processes end only when told, and then cleanly": _processes_do_as_told,
    "each worker is listed once": _workers_are_listed_once,
    "no process logs a traceback": _nobody_logs_a_mistake,
    "the store is whole": _store_is_whole,
    "processes and files do not grow": _nothing_grows,
}
