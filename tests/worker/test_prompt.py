"""Questions asked on a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Annotated, Any, Literal

import pytest

pytest.importorskip("pty", reason="needs a pseudo-terminal")

from pydantic import BaseModel, Field

from kitaru.errors import KitaruBackendError, KitaruStateError
from kitaru.model import Resolution, WaitKind, WaitRecord, WaitStatus
from kitaru.schemas import schema_of
from kitaru.worker.prompt import Prompter, register_display
from tests.worker.terminals import DEADLINE_SECONDS, Person


class Resolver:
    """Takes answers as a store does."""

    def __init__(self) -> None:
        self.given: SimpleQueue[tuple[WaitRecord, Resolution]] = SimpleQueue()
        self.refusals: list[Exception] = []

    def __call__(self, wait: WaitRecord, resolution: Resolution) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.given.put((wait, resolution))

    def next(self) -> Resolution:
        return self.given.get(timeout=DEADLINE_SECONDS)[1]

    def is_empty(self) -> bool:
        try:
            self.given.get_nowait()
        except Empty:
            return True
        return False


@pytest.fixture
def person() -> Iterator[Person]:
    with Person() as sitting:
        yield sitting


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


@pytest.fixture
def prompter(person: Person, resolver: Resolver) -> Iterator[Prompter]:
    asking = Prompter(resolver, streams=person.terminal)
    yield asking
    asking.stop()


def wait(declared: Any = None, name: str = "approve", **fields: Any) -> WaitRecord:
    return WaitRecord(
        exec_id="0197abcd-0000-7000-8000-000000000001",
        position=f"?{name}#1",
        wait_id=name,
        name=name,
        kind=WaitKind.INPUT,
        schema=schema_of(declared),
        created_at=0,
        **fields,
    )


class Colour(Enum):
    RED = "red"
    GREEN = "dark green"


class Address(BaseModel):
    city: str
    zip_code: Annotated[str, Field(pattern=r"^\d{5}$")]


class Order(BaseModel):
    approved: bool
    amount: Annotated[int, Field(ge=1, description="How many.")]
    colour: Colour = Colour.RED
    note: str | None = None
    tags: list[str] = ["a"]
    address: Address


def test_question_is_shown_with_what_is_expected(prompter: Prompter, person: Person) -> None:
    prompter.asked(
        wait(
            Literal["a", "b"],
            question="Which one?\nChoose well.",
            metadata='{"cost":3}',
            problem="answer: too late",
        )
    )

    assert person.expect("1-2 > ") == (
        "\n"
        "Waiting for input: approve  (execution 0197abcd…)\n"
        "  Which one?\n"
        "  Choose well.\n"
        '  metadata: {"cost":3}\n'
        "  An answer was given before: answer: too late\n"
        "  Expected: one of 'a', 'b'\n"
        "  (:skip or Ctrl-D to answer later, :abort to abort the wait)\n"
        "    1) a\n"
        "    2) b\n"
        "1-2 > "
    )


def test_answer_says_who_gave_it_and_where(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    asked = wait(bool)
    prompter.asked(asked)

    person.answer("[y/n] > ", "y")

    given, resolution = resolver.given.get(timeout=DEADLINE_SECONDS)
    assert given == asked
    assert resolution.via == f"prompt (pid {os.getpid()})"
    assert "@" in resolution.by
    assert (resolution.status, resolution.answer) == (WaitStatus.ANSWERED, "true")


@pytest.mark.parametrize(
    ("declared", "prompt", "line", "answer"),
    [
        (None, "type 'abort' > ", "", None),
        (None, "type 'abort' > ", "continue", None),
        (bool, "[y/n] > ", " No ", False),
        (bool, "[y/n] > ", "TRUE", True),
        (bool | None, "[y/n], Enter for null > ", "", None),
        (str, "> ", '  as it is, "quoted" \\ ü ', '  as it is, "quoted" \\ ü '),
        (str, "> ", "", ""),
        (str | None, "Enter for null > ", "", None),
        (int, "> ", " 42 ", 42),
        (float, "> ", "-1.5e3", -1500.0),
        (Colour, "1-2 > ", "2", "dark green"),
        (Colour, "1-2 > ", "dark green", "dark green"),
        (Colour, "1-2 > ", "Dark Green", "dark green"),
        (Colour, "1-2 > ", '"red"', "red"),
        (Literal[3, 1], "> ", "1", 1),
        (list[str], "JSON > ", '["a", "b"]', ["a", "b"]),
        (int | str, "JSON > ", "3", 3),
        (int | str, "JSON > ", "three", "three"),
        ({}, "JSON, Enter for null > ", "", None),
    ],
)
def test_line_becomes_an_answer_that_fits(
    prompter: Prompter,
    person: Person,
    resolver: Resolver,
    declared: Any,
    prompt: str,
    line: str,
    answer: object,
) -> None:
    prompter.asked(wait(declared))

    person.answer(prompt, line)

    assert json.loads(resolver.next().answer or "") == answer


@pytest.mark.parametrize(
    ("declared", "wrong", "problem", "right"),
    [
        (None, "yes", "! expected Enter or abort", ""),
        (bool, "maybe", '! expected y or n, got: "maybe"', "y"),
        (bool, "", '! expected y or n, got: ""', "y"),
        (int, "three", '! expected a whole number, got: "three"', "3"),
        (int, "3.5", "! expected a whole number, got: 3.5", "3"),
        (Annotated[int, Field(le=5)], "9", "! expected a whole number of at most 5, got: 9", "5"),
        (Annotated[str, Field(min_length=1)], "", "! '' should be non-empty", "x"),
        (Annotated[str, Field(max_length=1)], "xy", "! 'xy' is too long", "x"),
        (Colour, "3", '! expected a number from 1 to 2, or the text, got: "3"', "1"),
        (Literal[3, 1], "2", '! expected one of these, got: "2"', "3"),
        (list[str], "a", '! expected a list of texts, got: "a"', "[]"),
        (list[str], '["a", 1]', "! answer[1]: expected text, got: 1", "[]"),
    ],
)
def test_wrong_line_is_told_and_asked_again(
    prompter: Prompter,
    person: Person,
    resolver: Resolver,
    declared: Any,
    wrong: str,
    problem: str,
    right: str,
) -> None:
    prompter.asked(wait(declared))

    person.answer("> ", wrong)
    person.expect(problem)
    person.answer("> ", right)

    assert resolver.next().status is WaitStatus.ANSWERED


def test_model_is_asked_field_by_field(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    prompter.asked(wait(Order))

    person.answer("  approved (y/n): ", "y")
    person.answer("  amount: How many.\n  amount (a whole number of at least 1): ", "0")
    person.expect("! expected a whole number of at least 1, got: 0")
    person.answer("  amount (a whole number of at least 1): ", "7")
    person.answer(
        "    2) dark green\n  colour (one of 'red', 'dark green', default \"red\"): ", "2"
    )
    person.answer("  note (text, optional): ", "")
    person.answer('  tags (a list of texts, as JSON, default ["a"]): ', "")
    person.answer("  address.city (text): ", "Bonn")
    person.answer(r"  address.zip_code (text matching ^\d{5}$): ", "53111")
    summary = person.answer("Send? [Y/n] ", "")

    assert summary == (
        "  Your answer:\n"
        "    approved: true\n"
        "    amount: 7\n"
        '    colour: "dark green"\n'
        '    tags: ["a"]\n'
        '    address: {"city": "Bonn", "zip_code": "53111"}\n'
        "Send? [Y/n] "
    )
    assert json.loads(resolver.next().answer or "") == {
        "approved": True,
        "amount": 7,
        "colour": "dark green",
        "tags": ["a"],
        "address": {"city": "Bonn", "zip_code": "53111"},
    }


def test_model_that_is_not_sent_is_asked_for_anew(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    prompter.asked(wait(Address))

    person.answer("city (text): ", "Bon")
    person.answer("zip_code", "53111")
    person.answer("Send? [Y/n] ", "what")
    person.expect("! expected y or n")
    person.answer("Send? [Y/n] ", "n")
    person.answer("city (text): ", "Bonn")
    person.answer("zip_code", "53111")
    person.answer("Send? [Y/n] ", "yes")

    assert json.loads(resolver.next().answer or "") == {"city": "Bonn", "zip_code": "53111"}


def test_object_that_does_not_fit_as_a_whole_is_asked_for_anew(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    optional = {"type": ["string", "null"]}
    declared = {"type": "object", "properties": {"a": optional}, "minProperties": 1}
    prompter.asked(wait(declared))

    person.answer("  a (text, optional): ", "")
    person.answer("Send? [Y/n] ", "")
    person.expect("  ! {} should be non-empty")
    person.answer("  a (text, optional): ", "x")
    person.answer("Send? [Y/n] ", "")

    assert resolver.next().answer == '{"a": "x"}'


def test_optional_model_may_be_null(prompter: Prompter, person: Person, resolver: Resolver) -> None:
    prompter.asked(wait(Address | None))

    person.answer("Fill it in? (n answers null) [Y/n] ", "n")

    assert resolver.next().answer == "null"


def test_abort_asks_back(prompter: Prompter, person: Person, resolver: Resolver) -> None:
    prompter.asked(wait(Address))

    person.answer("city (text): ", ":abort")
    person.answer("Abort? [y/N] ", "")
    person.answer("city (text): ", "Bonn")
    person.answer("zip_code", " :abort ")
    person.answer("Abort? [y/N] ", "y")

    resolution = resolver.next()
    assert (resolution.status, resolution.answer) == (WaitStatus.ABORTED, None)


def test_gate_is_aborted_by_its_word(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    prompter.asked(wait(None))

    person.answer("or type 'abort' > ", "abort")
    person.answer("Abort? [y/N] ", "n")
    person.answer("or type 'abort' > ", "ABORT")
    person.answer("Abort? [y/N] ", "y")

    assert resolver.next().status is WaitStatus.ABORTED


@pytest.mark.parametrize(
    ("declared", "keys", "value"),
    [(bool, ":skip\n", "JSON"), (bool, "\x04", "JSON"), (None, "\x04", "null")],
)
def test_skipped_question_stays_open_and_the_next_one_is_asked(
    prompter: Prompter,
    person: Person,
    resolver: Resolver,
    declared: Any,
    keys: str,
    value: str,
) -> None:
    prompter.asked(wait(declared, name="first one"))
    prompter.asked(wait(int, name="second"))

    person.expect("> ")
    person.type(keys)
    person.expect(
        "\n  first one stays open. Answer it later with:\n"
        "    kitaru executions input 0197abcd-0000-7000-8000-000000000001 --wait 'first one'"
        f" --value {value}\n"
    )
    person.expect("Waiting for input: second")
    person.answer("> ", "3")

    assert resolver.next().answer == "3"
    assert resolver.is_empty()


def test_half_a_line_is_completed_by_ctrl_d(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    prompter.asked(wait(str))

    person.expect("> ")
    person.type("half\x04")  # passes on what there is
    person.type(" whole\n")

    assert resolver.next().answer == '"half whole"'


def test_questions_are_asked_one_at_a_time_in_order(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    prompter.asked(wait(int, name="first"))
    prompter.asked(wait(int, name="second"))

    shown = person.answer("> ", "1")
    person.answer("> ", "2")

    assert "second" not in shown
    assert [resolver.next().answer, resolver.next().answer] == ["1", "2"]


def test_keys_pressed_before_a_question_do_not_answer_it(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    prompter.asked(wait(bool, name="first"))
    prompter.asked(wait(None, name="second"))

    person.expect("> ")
    person.type("y\n\n\n\n")
    person.expect("Waiting for input: second")
    person.expect("type 'abort' > ")
    resolver.next()
    person.answer("", "abort")
    person.answer("Abort? [y/N] ", "y")

    assert resolver.next().status is WaitStatus.ABORTED


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {
                "status": WaitStatus.ANSWERED,
                "answer": '"from elsewhere"',
                "resolved_by": "ada@host",
                "resolved_via": "cli (pid 7)",
            },
            'first: answered by ada@host (cli (pid 7)): "from elsewhere"',
        ),
        ({"status": WaitStatus.ABORTED, "resolved_by": "ada@host"}, "first: aborted by ada@host."),
        ({"status": WaitStatus.EXPIRED}, "first: expired, nobody answered in time."),
        ({"status": WaitStatus.CLOSED}, "first: closed, the execution has ended."),
        (
            {"status": WaitStatus.OPEN},
            "first: no longer asked here, still open. Answer it with: kitaru executions input"
            " 0197abcd-0000-7000-8000-000000000001 --wait first --value JSON",
        ),
    ],
)
def test_question_that_is_over_goes_away_with_what_was_half_typed(
    prompter: Prompter, person: Person, resolver: Resolver, fields: dict[str, Any], line: str
) -> None:
    prompter.asked(wait(str, name="first"))
    prompter.asked(wait(str, name="second"))
    person.expect("> ")
    person.type("half a li")
    person.expect("half a li")

    prompter.closed(wait(str, name="first", **fields))

    assert person.expect(line) == f"\n{line}"
    person.answer("> ", "ne")
    assert resolver.next().answer == '"ne"'


def test_queued_question_that_is_over_is_never_asked(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    for name in ("first", "second", "third"):
        prompter.asked(wait(int, name=name))

    prompter.closed(wait(int, name="second", status=WaitStatus.EXPIRED))
    prompter.closed(wait(int, name="unknown", status=WaitStatus.EXPIRED))
    person.answer("> ", "1")
    person.answer("> ", "3")

    assert [resolver.next().answer, resolver.next().answer] == ["1", "3"]
    assert "second" not in person.seen


def test_end_of_a_question_that_was_answered_here_is_not_told(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    prompter.asked(wait(int, name="first"))
    person.answer("> ", "1")
    resolver.next()

    prompter.closed(wait(int, name="first", status=WaitStatus.ANSWERED, answer="1"))
    prompter.asked(wait(int, name="first", problem="answer: not accepted"))
    person.answer("> ", "2")

    assert resolver.next().answer == "2"
    assert "answered by" not in person.seen


def test_someone_faster_is_told(prompter: Prompter, person: Person, resolver: Resolver) -> None:
    resolver.refusals.append(KitaruStateError("wait 'first' was answered by ada@host."))
    prompter.asked(wait(int, name="first"))
    prompter.asked(wait(int, name="second"))

    person.answer("> ", "1")
    person.expect("! wait 'first' was answered by ada@host.\n")
    person.answer("Waiting for input: second", "")
    person.answer("> ", "2")

    assert resolver.next().answer == "2"


def test_answer_that_cannot_be_recorded_is_asked_for_again(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    resolver.refusals.append(KitaruBackendError("the disk is full."))
    prompter.asked(wait(int))

    person.answer("> ", "1")
    person.expect("! the answer could not be recorded: the disk is full.\n")
    person.answer("> ", "2")

    assert resolver.next().answer == "2"


def test_prompt_that_fails_leaves_the_next_question_alone(
    prompter: Prompter, person: Person, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    resolver.refusals.append(OSError("a bug"))
    prompter.asked(wait(int, name="first"))
    prompter.asked(wait(int, name="second"))

    person.answer("> ", "1")
    person.expect("Waiting for input: second")
    person.answer("> ", "2")

    assert resolver.next().answer == "2"
    assert "the prompt for wait 'first' failed" in caplog.text


def test_stop_frees_the_terminal_and_asks_no_more(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    prompter.asked(wait(int, name="first"))
    prompter.asked(wait(int, name="second"))
    person.expect("> ")

    prompter.stop()
    prompter.asked(wait(int, name="third"))
    prompter.stop()

    person.expect("first: no longer asked here, still open.")
    assert not [thread for thread in threading.enumerate() if thread.name == "kitaru-prompt"]
    assert resolver.is_empty()
    assert "second" not in person.seen
    assert "third" not in person.seen


def test_stop_without_questions_returns(prompter: Prompter) -> None:
    prompter.stop()


def test_thread_lives_only_while_there_are_questions(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    for answer in ("1", "2"):
        prompter.asked(wait(int))
        [thread] = [thread for thread in threading.enumerate() if thread.name == "kitaru-prompt"]
        person.answer("> ", answer)
        assert resolver.next().answer == answer
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def test_terminal_that_goes_away_ends_the_prompt_quietly(
    prompter: Prompter, person: Person, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    prompter.asked(wait(int, name="first"))
    prompter.asked(wait(int, name="second"))
    [thread] = [thread for thread in threading.enumerate() if thread.name == "kitaru-prompt"]
    person.expect("> ")

    person.hang_up()
    thread.join(DEADLINE_SECONDS)

    assert not thread.is_alive()
    assert resolver.is_empty()
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_control_sequences_of_others_are_not_shown(prompter: Prompter, person: Person) -> None:
    evil = "\x1b[2J\x1b]0;title\x07red\x1b[31m \x9b1m\x07bell\r\u202eover\u2028 \x1b(Bend"
    metadata = json.dumps({"a": evil}, ensure_ascii=False)
    prompter.asked(wait({"enum": [evil, "b"]}, question=f"{evil}\ud800", metadata=metadata))

    shown = person.expect("1-2 > ")

    assert "  red bellover end\n" in shown
    assert "    1) red bellover end\n" in shown
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\u2028"} & set(person.seen)


def test_line_that_the_terminal_has_cut_is_not_taken(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    prompter.asked(wait(str))
    person.expect("> ")

    for _ in range(5):
        person.type("x" * 1000)
    person.type("\n")
    person.expect("! the terminal has cut this line.")
    person.answer("> ", "short")

    assert resolver.next().answer == '"short"'


def test_displays_pause_while_a_question_is_asked(
    prompter: Prompter, person: Person, resolver: Resolver
) -> None:
    calls: list[str] = []
    resumed = threading.Event()

    def resume() -> None:
        calls.append("resume")
        resumed.set()

    unregister = register_display(lambda: calls.append("pause"), resume)
    prompter.asked(wait(int))
    person.expect("> ")
    paused = list(calls)
    unregister_late = register_display(lambda: calls.append("late"), lambda: None)
    person.type("1\n")
    resolver.next()
    assert resumed.wait(DEADLINE_SECONDS)
    unregister()
    unregister_late()
    prompter.asked(wait(int))
    person.answer("> ", "2")
    resolver.next()
    prompter.stop()

    assert paused == ["pause"]
    assert calls == ["pause", "late", "resume"]


def test_display_that_fails_does_not_keep_a_question_from_being_asked(
    prompter: Prompter, person: Person, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        message = "no display"
        raise RuntimeError(message)

    unregister = register_display(fail, lambda: None)
    try:
        prompter.asked(wait(int))
        person.answer("> ", "1")
    finally:
        unregister()

    assert resolver.next().answer == "1"
    assert "a display on the terminal failed" in caplog.text
