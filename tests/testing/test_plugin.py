"""The plugin in pytest processes of its own, on the examples and on suites made up here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
SWEEP, REPLAY = "--kitaru-crash-sweep", "--kitaru-always-replay"

Ended = subprocess.CompletedProcess[str]
Pytest = Callable[..., Ended]

# Where Kitaru was installed before it had the plugin, pytest does not find it by itself.
_IS_INSTALLED = "kitaru" in {found.name for found in metadata.entry_points(group="pytest11")}
_PLUGIN = [] if _IS_INSTALLED else ["-p", "kitaru.testing.plugin"]


@pytest.fixture
def run_pytest(tmp_path: Path) -> Pytest:
    def run(*arguments: str | Path, cwd: Path = ROOT) -> Ended:
        return subprocess.run(
            [
                *(sys.executable, "-m", "pytest", *_PLUGIN, "-q", "-n", "0", "--color=no"),
                *("-p", "no:cacheprovider", "-p", "no:randomly", "--tb=short", *arguments),
            ],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture
def suite(tmp_path: Path, run_pytest: Pytest) -> Pytest:
    """Return a way to run one file of tests, given as text."""

    def run(text: str, *arguments: str) -> Ended:
        folder = tmp_path / "suite"
        folder.mkdir()
        (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        (folder / "test_it.py").write_text(dedent(text))
        return run_pytest(*arguments, cwd=folder)

    return run


def failing(ended: Ended) -> set[str]:
    lines = [line for line in ended.stdout.splitlines() if line.startswith("FAILED ")]
    return {line.partition("::")[2].partition(" ")[0] for line in lines}


def section(ended: Ended, test: str) -> list[str]:
    """Return what the terminal summary says of a test."""
    _, _, after = ended.stdout.partition("= kitaru =")
    lines = after.splitlines()[1:]
    found = [number for number, line in enumerate(lines) if f"::{test}: " in line]
    return [line for number in found for line in [lines[number], *_indented(lines[number + 1 :])]]


def _indented(lines: list[str]) -> list[str]:
    end = next((n for n, line in enumerate(lines) if not line.startswith("    ")), len(lines))
    return lines[:end]


@pytest.mark.slow
def test_examples_pass_without_options(run_pytest: Pytest) -> None:
    ended = run_pytest("examples/testing")

    assert ended.returncode == 0, ended.stdout
    assert "= kitaru =" not in ended.stdout


@pytest.mark.slow
def test_crash_sweep_finds_the_second_charge_and_the_lost_parcel(run_pytest: Pytest) -> None:
    ended = run_pytest("examples/testing/test_buggy_orders.py", SWEEP)

    assert failing(ended) == {"test_order_is_charged", "test_order_is_sent"}, ended.stdout
    assert "effect charge(amount=20) happened twice, not once" in ended.stdout
    assert "at call.after_body of 'charge'" in ended.stdout
    assert "effect parcel(item='tea') was lost" in ended.stdout
    assert "at call.after_commit of 'pack'" in ended.stdout
    assert section(ended, "test_order_is_charged") == [
        "examples/testing/test_buggy_orders.py::test_order_is_charged: order_charged_twice:"
        " 8 points, 8 kills, 6 recovered",
        "    effect charge(amount=20) happened twice, not once: call.after_body of 'charge' and 1 more",
    ]


@pytest.mark.slow
def test_always_replay_finds_the_hidden_state_and_the_clock(run_pytest: Pytest) -> None:
    ended = run_pytest("examples/testing/test_buggy_orders.py", REPLAY)

    assert failing(ended) == {"test_order_has_a_number", "test_order_is_stamped"}, ended.stdout
    assert "argument 'number' was 1 and is 2" in ended.stdout
    assert "call 'stamp' of flow 'order_stamped_now'" in ended.stdout
    assert "argument 'at' was " in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("option", [SWEEP, REPLAY])
def test_repaired_order_stands_both(run_pytest: Pytest, option: str) -> None:
    ended = run_pytest("examples/testing/test_orders.py", option, "-k", "charged")

    assert ended.returncode == 0, ended.stdout
    assert section(ended, "test_order_is_charged_and_sent") == [
        "examples/testing/test_orders.py::test_order_is_charged_and_sent: order:"
        + (" 27 points, 27 kills, 27 recovered" if option == SWEEP else " entered 6 times")
    ]


@pytest.mark.slow
def test_limit_bounds_the_kills_and_workers_report_too(run_pytest: Pytest) -> None:
    ended = run_pytest(
        "examples/testing/test_orders.py", SWEEP, "--kitaru-crash-sweep-limit=3", "-n", "1"
    )

    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.count("3 points, 3 kills, 3 recovered") == 3


@pytest.mark.slow
def test_flows_with_children_waits_threads_and_loops_stand_both(suite: Pytest) -> None:
    ended = suite(
        """
        import asyncio
        from datetime import timedelta

        import pytest

        import kitaru
        from kitaru import checkpoint, flow
        from kitaru.testing import run_flow


        def test_family(effects):
            @checkpoint
            def mail(who):
                effects.record("mail", kitaru.current_call().idempotency_key, who=who)

            @flow
            def child(who):
                kitaru.sleep(timedelta(days=1))
                mail(who)
                return kitaru.wait(schema=str, name="say")

            @flow
            def parent():
                return [child.run("a").wait(), kitaru.uuid4().hex, kitaru.now().isoformat()]

            assert run_flow(parent, waits={"say": "hi"}).result[0] == "hi"
            assert effects == [("mail", {"who": "a"})]


        def test_loop(effects):
            @checkpoint
            async def note(number):
                effects.record("note", kitaru.current_call().idempotency_key, number=number)
                return number

            @flow
            async def fan():
                numbers = await asyncio.gather(note(1), note(2))
                return sum(numbers) + await kitaru.wait.aio(schema=int)

            async def main():
                return run_flow(fan, waits={"wait": 4}).result

            assert asyncio.run(main()) == 7


        def test_failure():
            @checkpoint(retries=1)
            def broken():
                raise OSError(f"no, {kitaru.current_execution_id()}")

            @flow
            def failing():
                broken()

            with pytest.raises(kitaru.KitaruUserCodeError):
                run_flow(failing)


        def test_earlier_execution(kitaru_store):
            @checkpoint
            def keep():
                kitaru.save("number", 3)

            @flow
            def keeping():
                keep()

            @flow
            def loading(exec_id):
                return kitaru.load(exec_id, "number")

            first = run_flow(keeping)
            assert run_flow(loading, first.exec_id).result == 3
            assert len(kitaru_store.executions.list()) == 2


        def test_without_flows():
            assert True
        """,
        SWEEP,
        REPLAY,
        "--kitaru-crash-sweep-limit=12",
    )

    assert ended.returncode == 0, ended.stdout
    assert section(ended, "test_without_flows") == [
        "test_it.py::test_without_flows: no run_flow() to disturb"
    ]
    assert "test_family: parent: 12 points, 12 kills, 12 recovered" in ended.stdout


@pytest.mark.slow
def test_other_ends_and_calls_that_are_gone_are_told(suite: Pytest) -> None:
    ended = suite(
        """
        import pytest

        from kitaru import checkpoint, flow
        from kitaru.testing import run_flow

        seen = []


        @checkpoint
        def see(number):
            seen.append(number)
            return number


        @flow
        def remembers():
            see(1)
            see(2)
            return len(seen)


        @flow
        def gives_up():
            see(1)
            see(2)
            if len(seen) < 2:
                raise ValueError("too little")


        entered = []


        @checkpoint
        def begin():
            return None


        @flow
        def forgets():
            entered.append(1)
            if len(entered) == 1:
                begin()
            return see(2)


        @pytest.mark.parametrize("flow_", [remembers, gives_up, forgets], ids=lambda f: f.name)
        def test_it(flow_):
            seen.clear()
            entered.clear()
            run_flow(flow_)


        def test_question():
            import kitaru

            @flow
            def asks():
                kitaru.wait(name="who")

            with pytest.raises(kitaru.KitaruUsageError, match="'who'"):
                run_flow(asks)
        """,
        SWEEP,
        REPLAY,
    )

    assert failing(ended) == {"test_it[remembers]", "test_it[gives_up]", "test_it[forgets]"}
    assert "its result is 1, not 2" in ended.stdout
    assert "it ended as failed (builtins.ValueError: too little), not as completed" in ended.stdout
    assert "call 'begin' of flow 'forgets' is recorded, and was not asked for again" in ended.stdout


def test_options_are_refused_where_nothing_can_fork(suite: Pytest) -> None:
    ended = suite(
        """
        import os

        del os.fork

        from kitaru.errors import KitaruFeatureNotAvailableError
        from kitaru.testing.forking import check_fork


        def test_it():
            try:
                check_fork()
            except KitaruFeatureNotAvailableError as error:
                assert "--kitaru-crash-sweep" in str(error)
            else:
                raise AssertionError
        """
    )

    assert ended.returncode == 0, ended.stdout


def test_plugin_imports_nothing_that_tests_without_flows_do_not_use(suite: Pytest) -> None:
    ended = suite(
        """
        import sys


        def test_it():
            expected = {"kitaru", "kitaru.testing", "kitaru.testing.plugin"}
            assert {name for name in sys.modules if name.partition(".")[0] == "kitaru"} == expected
        """
    )

    assert ended.returncode == 0, ended.stdout
