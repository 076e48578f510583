from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples.conftest import ROOT, Run

SMALL = sorted(path.name for path in (ROOT / "examples").glob("*.py") if path.stem != "__init__")


def output_of(run_python: Run, name: str) -> list[str]:
    ended = run_python(Path("examples", name))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.parametrize("name", SMALL)
def test_example_says_what_it_shows_and_is_mentioned(name: str) -> None:
    text = (ROOT / "examples" / name).read_text("utf-8")
    page = (ROOT / "docs" / "examples.md").read_text("utf-8")

    assert text.startswith('"""')
    assert len(text.splitlines()) <= 70
    assert f"examples/{name}" in page


def test_first_flow_shows_its_result_and_its_calls(run_python: Run) -> None:
    lines = output_of(run_python, "first_flow.py")

    assert lines[:3] == [
        f"- what there is to know about bees in {where}"
        for where in ("the garden", "the kitchen", "history")
    ]
    assert lines[3].startswith("execution ")
    assert lines[4:] == [
        f"  {call}: completed" for call in ("find_sources", "read", "read-2", "read-3", "summarize")
    ]


def test_one_flow_loads_what_another_saved(run_python: Run) -> None:
    lines = output_of(run_python, "artifacts_across_executions.py")

    assert re.fullmatch(r"2 paragraphs in execution [0-9a-f-]{36}", lines[0])
    assert lines[1:] == [
        "Draft(title='ON BEES', paragraphs=['Bees live in hives.', 'They make honey.',"
        " 'Some bees live alone.'])"
    ]


def test_only_the_failed_call_runs_again_after_the_repair(run_python: Run) -> None:
    lines = output_of(run_python, "retries_and_errors.py")

    assert lines == [
        "caught: nobody speaks Klingon here",
        "failed: OSError('the printer is on fire')",
        "caught: nobody speaks Klingon here",  # the flow runs again, with the recorded failure
        "printed: the text of The Bee, at attempt 3, in English",
        "  fetch: completed at attempt 3",
        "  translate: failed at attempt 1",
        "  translate-2: completed at attempt 1",
        "  publish: completed at attempt 2",
    ]


def test_branches_of_an_async_flow_meet_again(run_python: Run) -> None:
    lines = output_of(run_python, "async_fan_out.py")

    assert lines[:4] == [
        "an opinion on bees",
        "no second opinion",
        "an opinion on page 1 about bees",
        "an opinion on page 2 about bees",
    ]
    assert sorted(lines[4:]) == [
        "  ask_model-2: completed",
        "  ask_model-3: completed",
        "  ask_model: completed",
        "  ask_slow_model: failed",
        "  search: completed",
    ]


def test_reader_goes_on_where_another_one_stopped(run_python: Run) -> None:
    lines = output_of(run_python, "progress_events.py")

    words = ["Bees", "dance", "to", "tell", "each", "other", "where", "flowers", "are."]
    assert lines == [
        "   33% read source 1",
        "   67% read source 2",
        "  100% read source 3",
        "kitaru.checkpoint.returned search",
        *(f"  {word}" for word in words),
        "kitaru.checkpoint.returned answer",
        "kitaru.execution.completed ",
        "Bees dance to tell each other where flowers are. (3 sources)",
    ]
