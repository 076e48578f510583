"""Questions at a terminal: beside the tree of a run, and one after the other with `input -i`."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

pytest.importorskip("pty", reason="needs a pseudo-terminal")

import fcntl
import termios

from kitaru.client import Execution, KitaruClient
from tests.cli.conftest import Kitaru
from tests.worker.terminals import Person
from tests.worker.test_terminal import at_terminal

pytestmark = pytest.mark.slow

DEADLINE_SECONDS = 40.0  # only a test that fails gets there

APP = """
import kitaru
import pydantic
from kitaru import checkpoint, flow


class Review(pydantic.BaseModel):
    approved: bool
    comment: str = ""


@checkpoint
def draft(topic):
    print("drafting", topic)
    return topic.upper()


@flow
def article(topic="owls", stay=0):
    text = draft(topic)
    approved = kitaru.wait(schema=bool, name="approve", question=f"{topic}?", timeout=stay)
    print("approved" if approved else "refused")
    return f"{text}: {approved}"


@flow
def reviewed():
    review = kitaru.wait(schema=Review, name="review", timeout=0, expires=3600)
    return f"{review.approved}, {review.comment}"
"""


@pytest.fixture
def person(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    (here / "app.py").write_text(APP)
    monkeypatch.setenv("TERM", "xterm-256color")
    with Person() as sitting:
        fcntl.ioctl(sitting.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        yield sitting


def command(person: Person, *tokens: str) -> AbstractContextManager[Popen[bytes]]:
    return at_terminal(person, "-m", "kitaru.cli", *tokens)


def waiting(process: Kitaru, topic: str) -> str:
    """Leave an execution that asks; return its id."""
    done = process("run", "app.py:article", "--input", f'{{"topic": "{topic}"}}', "-o", "json")
    return done.json["item"]["exec_id"]


def ended(exec_id: str) -> Execution:
    """Wait for the end of an execution, and of the process that has gone on with it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    executions = KitaruClient().executions
    while not (found := executions.get(exec_id)).status.is_finished or is_run(exec_id):
        assert time.monotonic() < deadline
    return found


def is_run(exec_id: str) -> bool:
    commands = (process.info["cmdline"] for process in psutil.process_iter(["cmdline"]))
    return any(exec_id in (words or []) and "kitaru.worker" in words for words in commands)


def test_question_is_asked_with_the_tree_out_of_the_way(person: Person) -> None:
    with command(person, "run", "app.py:article", "--input", '{"stay": 600}') as process:
        person.expect("Waiting for input: approve")
        asked = person.expect("[y/n] > ")
        person.type("y\n")
        person.expect("approved\n")  # what the flow prints goes above the tree
        tree = person.expect("OWLS: True\n")

    assert process.returncode == 0
    assert "  owls?\n  Expected: yes or no\n" in asked
    assert "draft" not in asked  # nothing was drawn into the question
    assert "article  completed" in tree
    assert "\N{CHECK MARK} approve" in tree
    assert ": true" in tree
    [found] = KitaruClient().executions.list()
    logs = KitaruClient().executions.logs(found.exec_id)
    assert [line.message for line in logs] == ["drafting owls", "approved"]


def test_question_answered_elsewhere_is_taken_back_and_the_tree_goes_on(
    person: Person, process: Kitaru
) -> None:
    with command(person, "run", "app.py:article", "--input", '{"stay": 600}') as running:
        person.expect("[y/n] > ")
        person.type("half an ans")
        [found] = KitaruClient().executions.list()
        done = process("executions", "input", found.exec_id, "--value", "false")
        person.expect("approve: answered by ")
        person.expect("refused\n")
        person.expect("article  completed")
        person.expect("OWLS: False\n")

    assert (running.returncode, done.code) == (0, 0)


def test_run_that_leaves_takes_its_question_back_and_says_how_to_answer(person: Person) -> None:
    with command(person, "run", "app.py:article", "--input", '{"stay": 0.5}') as process:
        person.expect("[y/n] > ")
        person.expect("approve: no longer asked here, still open.")
        person.expect("article  waiting")
        person.expect("Status: waiting\n")
        person.expect("--wait approve --value true\n")

    assert process.returncode == 0


def test_sweep_asks_one_question_after_the_other(person: Person, process: Kitaru) -> None:
    answered, skipped, aborted = (waiting(process, topic) for topic in ("owls", "cats", "mice"))

    with command(person, "executions", "input", "--interactive") as sweeping:
        first = person.answer("[y/n] > ", "y")
        person.expect("cats?")
        person.answer("[y/n] > ", ":skip")
        person.expect("mice?")
        person.answer("[y/n] > ", ":abort")
        person.answer("Abort? [y/N] ", "y")
        person.expect("1 answered, 1 aborted, 1 skipped\n")

    assert sweeping.returncode == 0
    assert "  owls?\n" in first
    assert "Asked by flow 'article' since " in first
    assert ended(answered).describe_result() == "OWLS: True"
    assert ended(aborted).failure is not None
    assert [wait.exec_id for wait in KitaruClient().waits.list()] == [skipped]


def test_sweep_asks_for_a_model_field_by_field(person: Person, process: Kitaru) -> None:
    exec_id = process("run", "app.py:reviewed", "-o", "json").json["item"]["exec_id"]

    with command(person, "executions", "input", exec_id[:30], "-i") as sweeping:
        about = person.answer("approved (y/n): ", "y")
        person.answer('comment (text, default ""): ', "fine")
        person.answer("Send? [Y/n] ", "")
        person.expect("1 answered, 0 aborted, 0 skipped\n")

    assert sweeping.returncode == 0
    assert ", expires " in about
    assert ended(exec_id).describe_result() == "True, fine"


def test_sweep_goes_on_when_someone_else_was_faster(person: Person, process: Kitaru) -> None:
    first, second = (waiting(process, topic) for topic in ("owls", "cats"))

    with command(person, "executions", "input", "-i") as sweeping:
        person.expect("owls?")
        person.expect("[y/n] > ")
        process("executions", "input", first, "--value", "false")
        person.expect("approve: answered by ")
        person.expect("cats?")
        person.answer("[y/n] > ", "y")
        person.expect("1 answered, 0 aborted, 0 skipped, 1 over before\n")

    assert sweeping.returncode == 0
    assert ended(first).describe_result() == "OWLS: False"
    assert ended(second).describe_result() == "CATS: True"


@pytest.mark.parametrize("leaving", [":quit\n", "\x03"])
def test_sweep_can_be_left(person: Person, process: Kitaru, leaving: str) -> None:
    for topic in ("owls", "cats"):
        waiting(process, topic)

    with command(person, "executions", "input", "-i") as sweeping:
        person.expect("[y/n] > ")
        person.type(leaving)
        if leaving == ":quit\n":
            person.expect("0 answered, 0 aborted, 0 skipped\n")

    assert sweeping.returncode == (0 if leaving == ":quit\n" else 130)
    assert len(KitaruClient().waits.list()) == 2


def test_sweep_of_nothing_says_so(person: Person) -> None:
    with command(person, "executions", "input", "-i") as sweeping:
        person.expect("Nothing waits for an answer.\n")

    assert sweeping.returncode == 0
