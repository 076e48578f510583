from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.measures import MEASURES
from benchmarks.measuring import DBOS, KITARU, LANGGRAPH, Figure, Row, Unit
from benchmarks.resting import watch_rest

ROOT = Path(__file__).parent.parent.parent


def benchmarks(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--size", "tiny"),
            *("--directory", str(directory), *arguments),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture
def stores() -> Iterator[Path]:
    """Return a directory that everybody can get at: Postgres runs as another user if tests run as root."""
    directory = Path(tempfile.mkdtemp(prefix="kitaru-benchmarks-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURES)
def test_measure_runs_and_fills_its_rows(name: str, stores: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"

    ended = benchmarks(stores, name, "--output", str(page))

    assert ended.returncode == 0, ended.stderr
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    assert len(rows) > 2
    units = r"\d( (µs|ms|s|B|KiB|MiB)|/s)\b"
    counts = r"\| its (threads|files|connections)"
    assert all(re.search(units, row) or re.search(counts, row) for row in rows[2:])
    assert list(stores.iterdir()) == []


@pytest.mark.slow
def test_profile_names_functions_of_the_engine(tmp_path: Path) -> None:
    ended = benchmarks(tmp_path, "p1", "--profile")

    assert ended.returncode == 0, ended.stderr
    assert "protocol.py" in ended.stdout


def test_unknown_measure_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    ended = benchmarks(tmp_path, "p99")

    assert ended.returncode == 2
    assert all(name in ended.stderr for name in MEASURES)


def test_measure_of_several_processes_is_not_profiled(tmp_path: Path) -> None:
    ended = benchmarks(tmp_path, "p11", "--profile")

    assert ended.returncode == 2
    assert "p1" in ended.stderr


def test_target_for_the_slowest_round_is_missed_by_one() -> None:
    row = Row(work="work", at_most=2.0, is_slowest=True, figures={KITARU: Figure([1.0, 1.0, 3.0])})

    assert row.is_met is False


@pytest.mark.parametrize(("found", "is_met"), [(1_000.0, True), (999.0, False)])
def test_target_for_what_should_be_much_is_missed_by_less(found: float, is_met: bool) -> None:
    row = Row(
        work="work", at_least=1_000.0, unit=Unit.PER_SECOND, figures={KITARU: Figure([found])}
    )

    assert row.is_met is is_met


def test_rest_of_a_process_is_told_with_what_it_holds() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        rest = watch_rest(process.pid, seconds=0.05)
    finally:
        process.kill()
        process.communicate()

    assert rest.rss > 1_000_000
    assert rest.threads == 1
    assert rest.files >= 3
    assert rest.cpu_share >= 0


def test_ratio_is_the_median_of_the_rounds() -> None:
    figure = Figure([4.0, 2.0, 90.0], limits=[1.0, 1.0, 30.0])

    assert figure.ratio == 3.0


@pytest.mark.parametrize(
    ("figure", "at_most", "is_met"),
    [
        (Figure([3.0], limits=[2.0]), 1.5, True),
        (Figure([3.0], limits=[1.0]), 1.5, False),
        (Figure([0.9]), 1.0, True),
        (Figure([1.1]), 1.0, False),
        (Figure([1.1]), None, None),
    ],
)
def test_target_is_met_by_the_ratio_or_else_the_seconds(
    figure: Figure, at_most: float | None, is_met: bool | None
) -> None:
    others = {LANGGRAPH: Figure([9.0]), DBOS: Figure([9.0])}

    row = Row(work="work", at_most=at_most, figures={KITARU: figure, **others})

    assert row.is_met is is_met
