from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from rich.console import Console
from rich.live import Live

from kitaru import logs
from kitaru.clock import SystemClock
from kitaru.logs import LogCapture, LogTarget
from kitaru.model import LogLine, LogSource

say = print  # what users call, by a name that the linter does not take for a forgotten one
BODY = LogTarget("run", "", 0)
CALL = LogTarget("run", "fetch#1", 1)


class Clock(SystemClock):
    def now(self) -> int:
        return 7


class Sink:
    """A log store in memory that can be told to fail or to wait."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.batches = 0
        self.broken = False
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def __call__(self, lines: Sequence[LogLine]) -> None:
        self.entered.set()
        self.open.wait(10)
        if self.broken:
            logging.getLogger("kitaru.store").error("the disk is full")
            logging.getLogger("driver").error("the disk is full")
            say("the disk is full")
            raise OSError("the disk is full")
        self.batches += 1
        self.lines.extend(lines)

    @property
    def texts(self) -> list[tuple[str, str, str]]:
        return [(line.position, line.source.value, line.message) for line in self.lines]


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def capture(sink: Sink):
    token = logs.target.set(None)
    capture = LogCapture(sink, clock=Clock())
    capture.start("run")
    yield capture
    sink.open.set()
    capture.stop("run")
    assert capture.flush()
    logs.target.reset(token)


@contextlib.contextmanager
def running(target: LogTarget, capture: LogCapture | None = None):
    if capture is not None:
        capture.start(target.exec_id)  # again: pytest changes the streams between its phases
    token = logs.target.set(target)
    yield
    logs.target.reset(token)


def test_printed_lines_are_shown_and_kept_with_their_call(
    capture: LogCapture, sink: Sink, capsys: pytest.CaptureFixture[str]
):
    with running(CALL, capture):
        say("a", 1)
        say("b", file=sys.stderr)
    with running(BODY, capture):
        say("c\nd")
    capture.flush()

    assert capsys.readouterr() == ("a 1\nc\nd\n", "b\n")
    assert sink.lines[0] == LogLine(
        exec_id="run",
        position="fetch#1",
        attempt=1,
        source=LogSource.STDOUT,
        level=None,
        logger=None,
        message="a 1",
        module=None,
        filename=None,
        lineno=None,
        logged_at=7,
    )
    assert sink.texts == [
        ("fetch#1", "stdout", "a 1"),
        ("fetch#1", "stderr", "b"),
        ("", "stdout", "c"),
        ("", "stdout", "d"),
    ]


def test_output_outside_of_runs_is_only_shown(
    capture: LogCapture, sink: Sink, capsys: pytest.CaptureFixture[str]
):
    say("nobody's")
    with running(LogTarget("another process's run", "", 0)):
        say("theirs")
    capture.flush()

    assert capsys.readouterr().out == "nobody's\ntheirs\n"
    assert sink.lines == []


def test_pieces_of_a_line_are_joined_per_call_and_stream(capture: LogCapture, sink: Sink):
    with running(CALL, capture):
        say("one ", end="")
    with running(BODY, capture):
        say("body ", end="")
        say("error ", end="", file=sys.stderr)
    with running(CALL, capture):
        say("line")
    capture.finish(BODY)
    capture.flush()

    assert sink.texts == [
        ("fetch#1", "stdout", "one line"),
        ("", "stdout", "body "),
        ("", "stderr", "error "),
    ]


def test_unfinished_line_is_kept_when_the_run_ends(capture: LogCapture, sink: Sink):
    with running(CALL, capture):
        say("dot dot", end="")
    capture.stop("run")
    capture.flush()

    assert sink.texts == [("fetch#1", "stdout", "dot dot")]


def test_log_records_are_kept_with_their_place(
    capture: LogCapture, sink: Sink, caplog: pytest.LogCaptureFixture
):
    with running(CALL, capture):
        logging.getLogger("app.db").warning("slow: %d ms", 12)
    capture.flush()

    [line] = sink.lines
    assert (line.source, line.level, line.logger) == (LogSource.LOGGING, "WARNING", "app.db")
    assert (line.message, line.module, line.filename) == (
        "slow: 12 ms",
        "test_logs",
        "test_logs.py",
    )
    assert line.lineno is not None
    assert caplog.messages == ["slow: 12 ms"]


def test_traceback_of_a_record_is_kept(capture: LogCapture, sink: Sink):
    with running(CALL, capture):
        try:
            raise ValueError("bad")
        except ValueError:
            logging.getLogger("app").exception("parsing failed")
    capture.flush()

    [line] = sink.lines
    assert line.message.startswith("parsing failed\nTraceback (most recent call last):")
    assert line.message.endswith("ValueError: bad")


def test_records_below_the_level_stay_unseen(capture: LogCapture, sink: Sink):
    with running(CALL, capture):
        logging.getLogger("app").debug("detail")
    capture.flush()

    assert sink.lines == []


def test_kitarus_own_records_are_not_captured(capture: LogCapture, sink: Sink):
    handler = logging.StreamHandler(sys.stderr)
    own = logging.getLogger("kitaru.engine")
    own.addHandler(handler)
    with running(CALL, capture):
        own.warning("lease renewed late")
    own.removeHandler(handler)
    capture.flush()

    assert sink.lines == []


def test_record_that_a_handler_prints_is_kept_once(
    capture: LogCapture, sink: Sink, capsys: pytest.CaptureFixture[str]
):
    app = logging.getLogger("app")
    handler = logging.StreamHandler(sys.stderr)
    app.addHandler(handler)
    with running(CALL, capture):
        app.warning("once")
    app.removeHandler(handler)
    capture.flush()

    assert capsys.readouterr().err == "once\n"
    assert sink.texts == [("fetch#1", "logging", "once")]


def test_record_whose_arguments_do_not_fit_is_kept_as_it_is(
    capture: LogCapture, sink: Sink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    app = logging.getLogger("app")
    app.propagate = False  # pytest's own handler would raise
    app.addHandler(logging.NullHandler())
    with running(CALL, capture):
        app.warning("%d", "x")
    app.propagate = True
    app.handlers.clear()
    capture.flush()

    assert sink.texts == [("fetch#1", "logging", "%d ('x',)")]


def test_programs_that_configure_no_logging_see_the_same_as_ever():
    program = """
import logging, sys
from kitaru import logs
capture = logs.LogCapture(lambda lines: None)
if sys.argv[1] == "captured":
    capture.start("run")
logs.target.set(logs.LogTarget("run", "", 0))
logging.getLogger("lib").warning("last resort")
logging.basicConfig(format="configured %(message)s")
logging.getLogger("lib").warning("then")
"""

    seen = [
        subprocess.run(
            [sys.executable, "-c", program, how], capture_output=True, text=True, check=True
        ).stderr
        for how in ("captured", "not captured")
    ]

    assert seen == ["last resort\nconfigured then\n"] * 2


def test_lines_are_stored_when_the_process_ends_at_once():
    program = """
from kitaru import logs
real = __import__("sys").stderr
capture = logs.LogCapture(lambda lines: real.write(repr([line.message for line in lines])))
capture.start("run")
logs.target.set(logs.LogTarget("run", "", 0))
print("last words")
"""

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert (ended.stdout, ended.stderr) == ("last words\n", "['last words']")


def test_streams_are_put_back_after_the_last_run(sink: Sink):
    stdout, stderr, call_handlers = sys.stdout, sys.stderr, logging.Logger.callHandlers
    capture = LogCapture(sink)

    capture.start("a")
    capture.start("b")
    capture.start("b")
    inside = sys.stdout
    capture.stop("a")
    still = sys.stdout
    capture.stop("b")

    assert inside is still is not stdout
    assert (sys.stdout, sys.stderr) == (stdout, stderr)
    assert logging.Logger.callHandlers is call_handlers


def test_capture_that_is_switched_off_touches_nothing(sink: Sink):
    stdout = sys.stdout
    capture = LogCapture(sink, enabled=False)

    capture.start("run")
    during = sys.stdout
    with running(BODY):
        say("unkept")
    capture.stop("run")

    assert during is stdout
    assert capture.flush()
    assert sink.lines == []


def test_two_stores_each_get_their_own_runs_lines(sink: Sink, capture: LogCapture):
    other_sink = Sink()
    other = LogCapture(other_sink)
    other.start("other")
    with running(LogTarget("other", "", 0)):
        say("for the other")
    with running(BODY, capture):
        say("for the first")
    other.stop("other")
    logs.flush()

    assert [line.message for line in other_sink.lines] == ["for the other"]
    assert [line.message for line in sink.lines] == ["for the first"]


def test_stream_replaced_during_a_run_is_left_to_its_new_owner(sink: Sink):
    original = sys.stdout
    capture = LogCapture(sink)
    capture.start("run")
    replacement = io.StringIO()
    sys.stdout = replacement
    capture.stop("run")
    left = sys.stdout
    sys.stdout = original

    assert left is replacement


def test_stream_replaced_between_runs_is_captured_once(sink: Sink, capture: LogCapture):
    class Tee(io.StringIO):
        below = sys.stdout

        def write(self, text: str) -> int:
            self.below.write(text)
            return super().write(text)

    tee = Tee()
    with contextlib.redirect_stdout(tee):
        capture.start("second")
        with running(BODY, capture):
            say("once")
        capture.stop("second")
    capture.flush()

    assert tee.getvalue() == "once\n"
    assert sink.texts == [("", "stdout", "once")]


def test_output_that_the_program_redirects_is_the_programs(sink: Sink, capture: LogCapture):
    with running(CALL, capture), contextlib.redirect_stdout(io.StringIO()) as mine:
        say("mine")
    capture.flush()

    assert mine.getvalue() == "mine\n"
    assert sink.lines == []


def test_stale_proxy_that_someone_kept_still_passes_on(
    sink: Sink, capsys: pytest.CaptureFixture[str]
):
    capture = LogCapture(sink)
    capture.start("run")
    kept = sys.stdout
    capture.stop("run")
    with running(BODY):
        say("late", file=kept)

    assert capsys.readouterr().out == "late\n"
    assert capture.flush()
    assert sink.lines == []


def test_proxy_answers_like_the_stream_behind_it(capture: LogCapture):
    capture.start("run")
    stream = sys.stdout
    behind = stream.kitaru_original  # pyright: ignore[reportAttributeAccessIssue] - the proxy's own

    assert stream.isatty() == behind.isatty()
    assert stream.encoding == behind.encoding
    assert stream.buffer is behind.buffer
    assert repr(stream).startswith("<captured by Kitaru: ")
    with pytest.raises(TypeError):
        stream.write(b"bytes")  # pyright: ignore[reportArgumentType] - on purpose
    with stream as same:
        same.writelines(["a", "b\n"])


def test_rich_console_is_captured_inside_a_live_display(sink: Sink):
    shown = io.StringIO()
    token = logs.target.set(None)
    capture = LogCapture(sink)
    with Live(console=Console(file=shown, force_terminal=True, width=60)):
        capture.start("run")
        with running(BODY):
            Console(width=60).print("from rich")
        capture.stop("run")
    logs.target.reset(token)
    capture.flush()

    assert sink.texts == [("", "stdout", "from rich")]
    assert "from rich" in shown.getvalue()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("caf\u00e9 \U0001f600\n", ["caf\u00e9 \U0001f600"]),
        ("a\x00b\n", ["a\\x00b"]),
        ("windows\r\n", ["windows"]),
        ("10 %\r20 %\r30 %\n", ["30 %"]),
        ("\n\n", ["", ""]),
        ("", []),
        ("x" * 150_000 + "\n", ["x" * 65_536, "x" * 65_536, "x" * 18_928]),
        ("y" * 65_536, ["y" * 65_536]),
    ],
)
def test_odd_output_becomes_lines(capture: LogCapture, sink: Sink, written: str, kept: list[str]):
    with running(BODY, capture):
        sys.stdout.write(written)
    capture.flush()

    assert [line.message for line in sink.lines] == kept


def test_lone_surrogates_are_spelled_out(capture: LogCapture, sink: Sink):
    with running(BODY, capture):
        capture.write(BODY, LogSource.STDOUT, "a\udcffb\n")
    capture.flush()

    assert [line.message for line in sink.lines] == ["a\\udcffb"]


def test_progress_bar_without_end_takes_no_room(capture: LogCapture, sink: Sink):
    with running(BODY, capture):
        for step in range(5_000):
            sys.stderr.write(f"\r{'#' * 50} {step}")
        sys.stderr.write("\n")
    capture.flush()

    assert [line.message for line in sink.lines] == ["#" * 50 + " 4999"]


def test_threads_that_carry_the_context_write_whole_lines(capture: LogCapture, sink: Sink):
    def work(number: int) -> None:
        for _ in range(50):
            say("thread", number)

    with running(CALL, capture):
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(work, number))
            for number in range(8)
        ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    capture.flush()

    messages = [line.message for line in sink.lines]
    assert sorted(messages) == sorted(f"thread {number}" for number in range(8) for _ in range(50))


def test_tasks_write_to_their_own_calls(capture: LogCapture, sink: Sink):
    async def work(name: str) -> None:
        logs.target.set(LogTarget("run", name, 1))
        for step in range(3):
            sys.stdout.write(f"{name} ")
            await asyncio.sleep(0)
            say(step)

    async def main() -> None:
        await asyncio.gather(work("a"), work("b"))

    capture.start("run")
    asyncio.run(main())
    capture.flush()

    assert [text for text in sink.texts if text[0] == "a"] == [
        ("a", "stdout", f"a {step}") for step in range(3)
    ]
    assert len(sink.lines) == 6


def test_failing_sink_costs_lines_and_is_told_once(
    capture: LogCapture, sink: Sink, caplog: pytest.LogCaptureFixture
):
    sink.broken = True
    with running(CALL, capture):
        say("lost")
        capture.flush()
        say("lost too")
        capture.flush()
    sink.broken = False
    with running(CALL, capture):
        say("kept")
    capture.flush()

    assert [line.message for line in sink.lines] == ["(2 lines dropped)", "kept"]
    told = [record for record in caplog.records if record.name == "kitaru.logs.capture"]
    assert [record.getMessage() for record in told] == [
        "log lines of runs cannot be stored, the runs go on: the disk is full"
    ]


def test_lines_that_a_slow_sink_has_no_room_for_are_dropped_oldest_first(sink: Sink):
    capture = LogCapture(sink, capacity=3, interval=0.0)
    capture.start("run")
    sink.open.clear()
    with running(BODY):
        say("first")
        assert sink.entered.wait(10)
        for number in range(10):
            say(number)
    sink.open.set()
    capture.stop("run")

    assert capture.flush()
    assert [line.message for line in sink.lines] == ["first", "(7 lines dropped)", "7", "8", "9"]


def test_flush_gives_up_after_its_timeout(sink: Sink, capture: LogCapture):
    sink.open.clear()
    with running(BODY, capture):
        say("stuck")

    assert capture.flush(timeout=0.01) is False


def test_lines_come_in_batches(sink: Sink, capture: LogCapture):
    with running(BODY, capture):
        for number in range(500):
            say(number)
    capture.flush()

    assert len(sink.lines) == 500
    assert sink.batches <= 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_leaves_the_runs_to_its_parent(
    sink: Sink, capture: LogCapture, capfd: pytest.CaptureFixture[str]
):
    with running(BODY, capture):
        child = os.fork()
        if child == 0:
            say("child")
            sys.stdout.flush()
            os._exit(0 if logs.flush(1) and not sink.lines else 1)
        _, status = os.waitpid(child, 0)

    assert status == 0
