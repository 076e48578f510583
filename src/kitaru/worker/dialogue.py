"""Asks for one answer, piece by piece: what is said and what is made of the lines that come back.

It knows how a schema is best asked for, and neither threads nor terminals nor stores.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from kitaru.model import WaitStatus
from kitaru.schemas import Field, Form, FormKind, describe, find_problems, form_of, listed
from kitaru.worker.terminal import LineTooLong, one_line, plain

if TYPE_CHECKING:
    from kitaru.model import WaitRecord

_TEXT_CHARACTERS = 4000  # of a question: a screenful or two
_JSON_CHARACTERS = 500  # of metadata and answers
_DEPTH = 4  # objects within objects that are asked for field by field
_CHOICES = 50  # a longer list is better looked up than scrolled through

_YES = ("y", "yes", "true")
_NO = ("n", "no", "false")


class Talk(Protocol):
    """Someone who reads lines and types lines."""

    def say(self, text: str = "") -> None:
        """Show lines."""
        ...

    def ask(self, prompt: str) -> str:
        """Show a prompt and return the line that is typed."""
        ...


class Skipped(Exception):  # noqa: N818 - a way to leave
    """The person leaves the question to others."""


class Aborted(Exception):  # noqa: N818 - a way to leave
    """The person aborts the wait."""


def how_to_answer(wait: WaitRecord) -> str:
    """Return the command that answers a wait from anywhere."""
    value = "null" if wait.schema is None else "JSON"
    # Several tasks may ask under one name; within the flow's own body only one asks at a time.
    selector = wait.position if "/" in wait.position else wait.wait_id
    return f"kitaru executions input {wait.exec_id} --wait {shlex.quote(selector)} --value {value}"


def introduce(wait: WaitRecord, talk: Talk) -> None:
    """Show what is asked and what is expected."""
    talk.say()
    talk.say(f"Waiting for input: {one_line(wait.wait_id)}  (execution {wait.exec_id[:8]}…)")
    for line in plain(_cut(wait.question or "", _TEXT_CHARACTERS)).splitlines():
        talk.say(f"  {line}")
    if wait.metadata not in ("", "{}"):
        talk.say(f"  metadata: {_cut(one_line(wait.metadata), _JSON_CHARACTERS)}")
    if wait.problem:
        talk.say(f"  An answer was given before: {_cut(one_line(wait.problem), _JSON_CHARACTERS)}")
    talk.say(f"  Expected: {one_line(describe(wait.schema))}")
    talk.say("  (:skip or Ctrl-D to answer later, :abort to abort the wait)")


def compose(wait: WaitRecord, talk: Talk) -> str:
    """Return an answer that fits, as JSON text.

    Raises:
        Skipped: The person leaves the question to others.
        Aborted: The person aborts the wait.
    """
    form = form_of(wait.schema)
    while True:
        if form.kind is FormKind.OBJECT:
            answer = _object_or_null(form, talk)
        else:
            answer = _value(form, wait.schema, talk, f"{_hint(form)}> ", empty=_null(form))
        problems = find_problems(wait.schema, answer)
        if not problems:
            return answer
        _complain(problems, talk)


def conclude(wait: WaitRecord) -> str:
    """Return how a question ended that was answered elsewhere or not at all."""
    name = one_line(wait.wait_id)
    who = one_line(wait.resolved_by or "someone")
    via = f" ({one_line(wait.resolved_via)})" if wait.resolved_via else ""
    match wait.status:
        case WaitStatus.ANSWERED:
            answer = _cut(one_line(wait.answer or "null"), _JSON_CHARACTERS)
            return f"{name}: answered by {who}{via}: {answer}"
        case WaitStatus.ABORTED:
            return f"{name}: aborted by {who}{via}."
        case WaitStatus.EXPIRED:
            return f"{name}: expired, nobody answered in time."
        case WaitStatus.CLOSED:
            return f"{name}: closed, the execution has ended."
        case WaitStatus.OPEN:
            return (
                f"{name}: no longer asked here, still open. Answer it with: {how_to_answer(wait)}"
            )


def confirm(talk: Talk, question: str, *, default: bool) -> bool:
    """Return a yes or a no; Enter takes the default."""
    while True:
        line = _line(talk, f"{question} {'[Y/n]' if default else '[y/N]'} ").strip().lower()
        if line in _YES or (not line and default):
            return True
        if line in _NO or not line:
            return False
        talk.say("  ! expected y or n")


def _line(talk: Talk, prompt: str) -> str:
    """Return a line that is no command to leave."""
    while True:
        line = _whole_line(talk, prompt)
        command = line.strip()
        if command == ":skip":
            raise Skipped
        if command == ":abort":
            if _abort(talk):
                raise Aborted
            continue
        return line


def _whole_line(talk: Talk, prompt: str) -> str:
    while True:
        try:
            return talk.ask(prompt)
        except LineTooLong:
            talk.say(
                "  ! the terminal has cut this line. Give a shorter one, or :skip to use the command"
            )


def _abort(talk: Talk) -> bool:
    # Not `confirm`, in which `:abort` would ask whether to abort.
    return _whole_line(talk, "Abort? [y/N] ").strip().lower() in _YES


def _complain(problems: list[str], talk: Talk) -> None:
    words = listed([problem.removeprefix("answer: ") for problem in problems])
    talk.say(f"  ! {_cut(one_line(words), _JSON_CHARACTERS)}")


def _null(form: Form) -> str | None:
    """Return what an empty line stands for where nothing can be left out."""
    return "null" if form.nullable else None


def _hint(form: Form) -> str:
    if form.kind is FormKind.GATE:
        return "Press Enter to continue, or type 'abort' "
    words = {FormKind.BOOLEAN: "[y/n]", FormKind.JSON: "JSON"}.get(form.kind, "")
    if form.kind is FormKind.CHOICE:
        words = f"1-{len(form.choices)}" if _is_numbered(form) else ""
    if form.nullable:
        words = f"{words}, Enter for null" if words else "Enter for null"
    return f"{words} " if words else ""


# --- objects ---------------------------------------------------------------------------------


def _object_or_null(form: Form, talk: Talk) -> str:
    if form.nullable and not confirm(talk, "Fill it in? (n answers null)", default=True):
        return "null"
    while True:
        answer = _object(form, talk, "", 1)
        talk.say("  Your answer:")
        for name, value in answer.items():
            talk.say(f"    {one_line(name)}: {_cut(one_line(_json(value)), _JSON_CHARACTERS)}")
        if confirm(talk, "Send?", default=True):
            return _json(answer)


def _object(form: Form, talk: Talk, prefix: str, depth: int) -> dict[str, object]:
    answer: dict[str, object] = {}
    for field in form.fields:
        value = _field(field, talk, prefix, depth)
        if value is not None:
            answer[field.name] = json.loads(value)
    return answer


def _field(field: Field, talk: Talk, prefix: str, depth: int) -> str | None:
    """Return the JSON text of a field's value, or None to leave it out."""
    form = form_of(field.schema)
    label = f"{prefix}{one_line(field.name)}"
    if field.description:
        talk.say(f"  {label}: {_cut(one_line(field.description), _JSON_CHARACTERS)}")
    if form.kind is FormKind.OBJECT and field.required and not form.nullable and depth < _DEPTH:
        return _json(_object(form, talk, f"{label}.", depth + 1))
    default = field.default
    if default is not None and (default == "null" or find_problems(field.schema, default)):
        default = None  # the type's own way to say that it was left out
    prompt = f"  {label} ({', '.join(_about(field, form, default))}): "
    while True:
        if field.required:
            value = _value(form, field.schema, talk, prompt, empty=_null(form))
        else:
            value = _value(form, field.schema, talk, prompt, empty=default or "")
        if not value:
            return None
        problems = find_problems(field.schema, value)
        if not problems:
            return value
        _complain(problems, talk)


def _about(field: Field, form: Form, default: str | None) -> Iterator[str]:
    words = describe(field.schema)
    if not field.required:
        words = words.removesuffix(" or null")
    if form.kind in (FormKind.JSON, FormKind.OBJECT):
        words = f"{words}, as JSON"
    yield "y/n" if form.kind is FormKind.BOOLEAN else one_line(words)
    if default is not None:
        yield f"default {_cut(one_line(default), _JSON_CHARACTERS)}"
    elif not field.required:
        yield "optional"
    elif form.nullable:
        yield "Enter for null"


# --- single values ---------------------------------------------------------------------------


def _value(form: Form, schema: str | None, talk: Talk, prompt: str, *, empty: str | None) -> str:
    """Return what a line says, as JSON text, which may not fit yet.

    Args:
        form: How to ask.
        schema: What is asked for.
        talk: Who is asked.
        prompt: Shown before the line.
        empty: What an empty line stands for; None if it stands for itself.
    """
    if form.kind is FormKind.CHOICE:
        _list_choices(form, talk)
    while True:
        line = _line(talk, prompt)
        if not line.strip() and empty is not None:
            return empty
        value, problem = _read(form, schema, line)
        if form.kind is FormKind.GATE and value == "abort":
            if _abort(talk):
                raise Aborted
            continue
        if not problem:
            return value
        _complain([problem], talk)


def _read(form: Form, schema: str | None, line: str) -> tuple[str, str]:
    """Return the JSON text that a line stands for, and what is wrong with the line."""
    words = line.strip()
    match form.kind:
        case FormKind.GATE:
            known = {"abort": "abort", "continue": "null", "null": "null"}
            return known.get(
                words.lower(), ""
            ), "" if words.lower() in known else "expected Enter or abort"
        case FormKind.BOOLEAN:
            if words.lower() in (*_YES, *_NO):
                return ("true" if words.lower() in _YES else "false"), ""
            return "", f"expected y or n, got: {_json(words)}"
        case FormKind.CHOICE:
            return _choice(form, words)
        case FormKind.TEXT:
            return _json(line), ""
        case _:
            return _number_or_json(form, schema, words)


def _number_or_json(form: Form, schema: str | None, words: str) -> tuple[str, str]:
    if not find_problems(schema, words):
        return words, ""
    as_text = _json(words)
    # A text that is the only reading needs no quotes.
    if form.kind is FormKind.JSON and words and not find_problems(schema, as_text):
        return as_text, ""
    if find_problems("{}", words):
        return "", f"expected {describe(schema)}, got: {as_text}"
    return words, ""


def _list_choices(form: Form, talk: Talk) -> None:
    numbered = _is_numbered(form)
    for number, choice in enumerate(form.choices[:_CHOICES], 1):
        talk.say(f"    {f'{number})' if numbered else '-'} {one_line(_word(choice))}")
    if len(form.choices) > _CHOICES:
        talk.say(f"    … and {len(form.choices) - _CHOICES} more")


def _is_numbered(form: Form) -> bool:
    """Whether choices can be told by number: not if one of them is a number itself."""
    return not any(_word(choice).isdecimal() for choice in form.choices)


def _choice(form: Form, words: str) -> tuple[str, str]:
    named = {_word(choice): choice for choice in form.choices}
    if words in named:
        return named[words], ""
    if words in form.choices:  # typed as JSON
        return words, ""
    if _is_numbered(form) and words.isdecimal() and 1 <= int(words) <= len(form.choices):
        return form.choices[int(words) - 1], ""
    alike = [choice for name, choice in named.items() if name.lower() == words.lower()]
    if len(alike) == 1:
        return alike[0], ""
    expected = (
        f"a number from 1 to {len(form.choices)}, or the text"
        if _is_numbered(form)
        else "one of these"
    )
    return "", f"expected {expected}, got: {_json(words)}"


def _word(choice: str) -> str:
    """Return a choice as people type it."""
    value = json.loads(choice)
    return value if isinstance(value, str) else choice


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
