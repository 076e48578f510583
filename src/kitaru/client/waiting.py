"""What an execution waits for, in words, and the command that would answer it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote

from kitaru import schemas
from kitaru.client.wording import one_line, since, span
from kitaru.clock import to_datetime
from kitaru.model import WaitKind, WaitRecord, WaitStatus
from kitaru.schemas import FormKind

_EXAMPLES = {
    FormKind.GATE: "null",
    FormKind.BOOLEAN: "true",
    FormKind.TEXT: '"text"',
    FormKind.INTEGER: "1",
    FormKind.NUMBER: "1",
}
_DEPTH = 3  # objects within objects in an example


@dataclass(frozen=True, slots=True)
class Asked:
    """An open wait for an answer or for a moment, as it is told at a moment."""

    wait: WaitRecord
    now: int

    def told(self) -> str:
        """Return what is waited for, as it follows "waits for" or, of a timer, "sleeps"."""
        wait = self.wait
        if wait.kind is WaitKind.TIMER:
            return (
                "without an end" if wait.wake_at is None else f"until {self._moment(wait.wake_at)}"
            )
        expected = one_line(schemas.describe(wait.schema))
        asked = f"{wait.wait_id!r} since {since(wait.created_at, self.now)}"
        question = one_line(wait.question or "")
        return f"{asked}: {question} ({expected})" if question else f"{asked} ({expected})"

    def remarks(self) -> tuple[str, ...]:
        """Return further sentences: when it expires, and what was wrong with the answer before."""
        wait, found = self.wait, list[str]()
        if wait.kind is WaitKind.INPUT and wait.wake_at is not None:
            found.append(f"It expires in {span(wait.wake_at - self.now)}.")
        if wait.problem:
            problem = one_line(wait.problem).rstrip(".")
            found.append(f"The last answer was not accepted: {problem}.")
        return tuple(found)

    def command(self, others: Sequence[WaitRecord]) -> str:
        """Return the command that answers it.

        Args:
            others: All open waits of the execution; an id that means several of them is no use.
        """
        wait = self.wait
        same = [other for other in others if wait.wait_id in {other.wait_id, other.name}]
        selector = wait.wait_id if len(same) == 1 else wait.position
        return answer_command(wait.exec_id, selector, wait.schema)

    def _moment(self, moment: int) -> str:
        return f"{to_datetime(moment):%Y-%m-%d %H:%M:%S} UTC (in {span(moment - self.now)})"


def answer_command(exec_id: str, selector: str, schema: str | None) -> str:
    """Return the command that answers a wait, with an answer that fits."""
    return f"kitaru executions input {exec_id} --wait {quote(selector)} --value {quote(example(schema))}"


def ended_words(wait: WaitRecord) -> str:
    """Return how a wait that is over has ended."""
    by = f" by {wait.resolved_by}" if wait.resolved_by else ""
    match wait.kind, wait.status:
        case WaitKind.TIMER, _:
            return "its sleep is over"
        case WaitKind.CHILD, _:
            return f"execution {wait.child_id!r}, for which it waited, has ended"
        case WaitKind.INPUT, WaitStatus.ABORTED:
            return f"{wait.wait_id!r} was aborted{by}"
        case WaitKind.INPUT, WaitStatus.EXPIRED:
            return f"{wait.wait_id!r} has expired"
        case WaitKind.INPUT, _:
            return f"{wait.wait_id!r} was answered{by}"


def example(schema: str | None) -> str:
    """Return JSON text that fits a schema, or `JSON` if none is found."""
    for text in _candidates(schema, _DEPTH):
        if not schemas.find_problems(schema, text):
            return text
    return "JSON"


def _candidates(schema: str | None, depth: int) -> Iterator[str]:
    form = schemas.form_of(schema)
    yield from form.choices
    if form.kind in _EXAMPLES:
        yield _EXAMPLES[form.kind]
    if form.kind is FormKind.OBJECT and depth:
        parts = (
            (json.dumps(field.name, ensure_ascii=False), _candidates(field.schema, depth - 1))
            for field in form.fields
            if field.required
        )
        whole = ",".join(f"{key}:{next(values, 'null')}" for key, values in parts)
        yield f"{{{whole}}}"
    if form.nullable:
        yield "null"
