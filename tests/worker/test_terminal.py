"""Processes whose own terminal is a pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

pytest.importorskip("pty", reason="needs a pseudo-terminal")

from tests.worker.terminals import DEADLINE_SECONDS, Person

pytestmark = pytest.mark.slow

# Takes the pseudo-terminal as the terminal that controls it, as a shell's child has one.
LAUNCHER = """
import os, sys
os.login_tty(int(sys.argv[1]))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""

ASK_WHETHER_INTERACTIVE = (
    "from kitaru.worker.terminal import is_interactive; print(is_interactive())"
)


@contextmanager
def at_terminal(
    person: Person, *arguments: str, keep: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python at a person's terminal."""
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(person.theirs), *arguments],
        pass_fds=[person.theirs, *keep],
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    try:
        yield process
        process.wait(DEADLINE_SECONDS)
    finally:
        process.kill()
        process.wait()
        end_session(process.pid)


def end_session(leader: int) -> None:
    """Kill what a process has started at its terminal and left behind, as one that was killed does."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def person() -> Iterator[Person]:
    with Person() as sitting:
        yield sitting


def test_process_in_the_foreground_of_its_terminal_is_interactive(person: Person) -> None:
    with at_terminal(person, "-c", ASK_WHETHER_INTERACTIVE):
        assert person.expect("\n") == "True\n"


@pytest.mark.parametrize(
    "options",
    [
        "process_group=0",  # a background job
        "stdin=subprocess.DEVNULL",
        "start_new_session=True",  # the terminal of someone else
    ],
)
def test_process_that_nobody_sits_at_is_not_interactive(person: Person, options: str) -> None:
    script = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], {options})"
    )

    with at_terminal(person, "-c", script, ASK_WHETHER_INTERACTIVE):
        assert person.expect("\n") == "False\n"


@pytest.mark.parametrize(
    "change",
    [
        "import tty; tty.setcbreak(0)",  # as line editors do
        "import sys; sys.stdin = None",
        "import sys; sys.stdin.close()",
        "import sys, io; sys.stdout = io.StringIO()",
    ],
)
def test_process_whose_terminal_is_otherwise_used_is_not_interactive(
    person: Person, change: str
) -> None:
    script = f"{change}\nfrom kitaru.worker.terminal import is_interactive\n"
    script += "import os; os.write(1, f'{is_interactive()}\\n'.encode())"

    with at_terminal(person, "-c", script):
        assert person.expect("\n") == "False\n"


def test_process_with_stdout_in_a_file_is_not_interactive(person: Person, tmp_path: Path) -> None:
    target = tmp_path / "out"
    script = (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', sys.argv[1]], stdout=open(sys.argv[2], 'w'))"
    )

    with at_terminal(person, "-c", script, ASK_WHETHER_INTERACTIVE, str(target)):
        pass

    assert target.read_text() == "False\n"


PROMPTING = """
import os, signal, sys, threading
from kitaru.model import WaitKind, WaitRecord
from kitaru.worker.prompt import Prompter

def resolve(wait, resolution):
    print("answer:", resolution.answer, flush=True)
    done.set()

done = threading.Event()
prompter = Prompter(resolve)
prompter.asked(
    WaitRecord(
        exec_id="0197abcd", position="w", wait_id="w", name="w", kind=WaitKind.INPUT,
        schema='{"type":"integer"}', created_at=0,
    )
)
"""


def test_process_asks_at_its_own_terminal(person: Person) -> None:
    with at_terminal(person, "-c", f"{PROMPTING}\ndone.wait(); prompter.stop()") as process:
        person.answer("> ", "3")
        person.expect("answer: 3\n")

    assert process.returncode == 0


def test_ctrl_c_at_a_prompt_belongs_to_the_main_thread(person: Person) -> None:
    script = """
try:
    done.wait()
except KeyboardInterrupt:
    prompter.stop()
    print("interrupted")
"""
    with at_terminal(person, "-c", PROMPTING + script) as process:
        person.expect("> ")
        person.type("half\x03")
        person.expect("no longer asked here, still open.")
        person.expect("\ninterrupted\n")

    assert process.returncode == 0


def test_prompt_of_a_process_in_the_background_waits_until_it_is_in_the_foreground_again(
    person: Person,
) -> None:
    # The child asks, then the terminal goes to the parent, as after Ctrl-Z and `bg`, and back, as by `fg`.
    script = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], process_group=0)
os.tcsetpgrp(0, child.pid)
os.read(int(sys.argv[2]), 1)
os.tcsetpgrp(0, os.getpgrp())
print("parent reads:", input("parent: "), flush=True)
os.tcsetpgrp(0, child.pid)
child.wait()
"""
    prompting = f"{PROMPTING}\ndone.wait(); prompter.stop()"
    ready, tell = os.pipe()
    with (
        os.fdopen(ready, "rb"),
        os.fdopen(tell, "wb", buffering=0) as parent,
        at_terminal(person, "-c", script, prompting, str(ready), keep=(ready,)) as process,
    ):
        person.expect("> ")
        parent.write(b"x")
        person.answer("parent: ", "for it")
        person.expect("parent reads: for it\n")
        person.type("3\n")
        person.expect("answer: 3\n")

    assert process.returncode == 0


def test_child_of_a_process_that_is_killed_at_its_terminal_does_not_outlive_it(
    person: Person,
) -> None:
    # In a group of its own in the background, which hears nothing of the end.
    script = """
import subprocess, sys, time
sleeping = "import time; time.sleep(600)"
print(subprocess.Popen([sys.executable, "-c", sleeping], process_group=0).pid, flush=True)
time.sleep(600)
"""
    left: list[psutil.Process] = []

    def fail() -> None:
        with at_terminal(person, "-c", script):
            left.append(psutil.Process(int(person.expect("\n"))))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()

    assert psutil.wait_procs(left, timeout=DEADLINE_SECONDS) == (left, [])


FLOW = """
from typing import Literal
import kitaru
from kitaru import flow
from pydantic import BaseModel, field_validator

class Review(BaseModel):
    approved: bool
    comment: str = "none"

    @field_validator("comment")
    @classmethod
    def _polite(cls, comment):
        if comment == "rude":
            raise ValueError("be polite")
        return comment

@flow
def publish():
    review = kitaru.wait(schema=Review, name="review", question="Is it good?")
    where = kitaru.wait(schema=Literal["blog", "news"], name="where")
    return f"{review.approved} {review.comment} {where}"

print("result:", publish.run().wait())
"""


def test_flow_is_answered_at_the_terminal(person: Person, tmp_path: Path, config_dir: Path) -> None:
    script = tmp_path / "publish.py"
    script.write_text(textwrap.dedent(FLOW))

    with at_terminal(person, str(script)) as process:
        person.expect("Waiting for input: review")
        person.expect("  Is it good?\n")
        person.answer("approved (y/n): ", "y")
        person.answer('comment (text, default "none"): ', "rude")
        person.answer("Send? [Y/n] ", "")
        person.expect(
            "  An answer was given before: the answer was not accepted: answer.comment: be polite.\n"
        )
        person.answer("approved (y/n): ", "n")
        person.answer('comment (text, default "none"): ', "")
        person.answer("Send? [Y/n] ", "")
        person.expect("Waiting for input: where")
        person.answer("1-2 > ", "2")
        person.expect("result: False none news\n")

    assert process.returncode == 0
