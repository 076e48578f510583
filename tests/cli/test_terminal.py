"""What people see on a real terminal."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from kitaru.client import KitaruClient
from kitaru.model import CallStatus, ExecutionStatus
from kitaru.store import Store
from tests.cli.conftest import COMMAND
from tests.client.journal import Book, failure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal"),
]

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def on_terminal(*tokens: str, typed: str = "") -> tuple[int, str]:
    """Run a command line on a terminal of 100 columns; return its exit code and all it showed."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        [*COMMAND, *tokens], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    if typed:
        os.write(ours, typed.encode())
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return process.wait(30), shown.decode()


def test_get_draws_a_coloured_tree(store: Store):
    book = Book.begin(store, id="0197-audit")
    book.call("plan")
    for number in (1, 2):
        book.call("report", position=f"report#{number}", call_id=f"report-{number}")
    book.call("check", status=CallStatus.FAILED, failure=failure())
    book.end(ExecutionStatus.FAILED)

    code, shown = on_terminal("executions", "get", "0197")

    plain = _CONTROL.sub("", shown)
    assert code == 0
    assert "\x1b[1;31mfailed in 4.0 s\x1b[0m" in shown
    assert plain.split("ValueError: bad input\n\n")[1] == (
        "audit  failed\n"
        "\u251c\u2500\u2500 \u2713 plan  0.50 s\n"
        "\u251c\u2500\u2500 \u2713 report \u00d72  2 completed, 0.50 s\n"
        "\u2502   \u251c\u2500\u2500 \u2713 report-1  0.50 s\n"
        "\u2502   \u2514\u2500\u2500 \u2713 report-2  0.50 s\n"
        "\u2514\u2500\u2500 \u2717 check  0.50 s  ValueError: bad input\n"
    )


def test_run_shows_progress_above_the_result(here: Path, store: Store):
    (here / "app.py").write_text(
        "from kitaru import checkpoint, flow\n"
        "@checkpoint\n"
        "def double(x):\n"
        "    print('doubling', x)\n"
        "    return 2 * x\n"
        "@flow\n"
        "def sums():\n"
        "    return sum(double.map([1, 2, 3]).result())\n"
    )

    code, shown = on_terminal("run", "app.py:sums")

    plain = _CONTROL.sub("", shown)
    assert code == 0
    assert "doubling" in plain  # threads may print into each other's lines, as ever
    assert "double \u00d73  3 completed" in plain
    assert plain.endswith("\n12\n")
    assert "\x1b[?25h" in shown  # the cursor is back
    [found] = KitaruClient().executions.list()
    lines = KitaruClient().executions.logs(found.exec_id)
    assert sorted((line.source, line.message) for line in lines) == [
        ("stdout", "doubling 1"),
        ("stdout", "doubling 2"),
        ("stdout", "doubling 3"),
    ]


def test_watch_draws_until_the_end(store: Store):
    book = Book.begin(store, id="0197-audit")
    book.call("plan")
    book.end(ExecutionStatus.COMPLETED)

    code, shown = on_terminal("executions", "watch", "0197")

    assert code == 0
    assert "\u2514\u2500\u2500 \u2713 plan  0.50 s" in _CONTROL.sub("", shown)


@pytest.mark.parametrize(("typed", "left"), [("y\n", False), ("n\n", True), ("\n", True)])
def test_clean_asks(config_dir: Path, store: Store, typed: str, left: bool):
    Book.begin(store).end(ExecutionStatus.COMPLETED)
    store.close()

    code, shown = on_terminal("clean", "global", typed=typed)

    assert code == 0
    assert "Remove " in shown
    assert (config_dir / "kitaru.db").exists() is left
