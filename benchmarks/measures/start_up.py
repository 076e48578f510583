"""P6: what an import and the command line cost, in fresh processes."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.measuring import (
    DBOS,
    KITARU,
    LANGGRAPH,
    LIMIT,
    ROOT,
    Bench,
    Figure,
    Row,
    clean_environment,
)

_LANGGRAPH = (
    "from langgraph.func import entrypoint, task;"
    "from langgraph.checkpoint.sqlite import SqliteSaver"
)
_SCRIPT = (
    "import kitaru; from benchmarks.flows import one_step;"
    "kitaru.configure(config_dir={directory!r}); one_step.run(1).wait()"
)


def measure(bench: Bench) -> list[Row]:
    directory = str(bench.new_directory())
    commands = {
        LIMIT: ("-c", "pass"),
        KITARU: ("-c", "import kitaru"),
        "names": ("-c", "from kitaru import checkpoint, flow"),
        "script": ("-c", _SCRIPT.format(directory=directory)),
        "help": ("-m", "kitaru", "--help"),
        LANGGRAPH: ("-c", _LANGGRAPH),
        DBOS: ("-c", "import dbos"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands if bench.is_installed(name)}
    for name in seconds:
        _seconds(*commands[name])  # compiles, and brings files into memory
    for _ in range(bench.size.processes):
        for name, taken in seconds.items():
            taken.append(_seconds(*commands[name]))
    figures = {name: Figure(taken) for name, taken in seconds.items()}
    limit = figures[LIMIT]
    return [
        Row(
            number="P6",
            work="`import kitaru`, whole process",
            limit=limit,
            at_most=0.150,
            figures={KITARU: figures[KITARU]},
        ),
        Row(
            work="import of what a flow needs, whole process",
            limit=limit,
            figures={
                KITARU: figures["names"],
                **{name: figures[name] for name in (LANGGRAPH, DBOS) if name in figures},
            },
        ),
        Row(
            work="script that runs an execution with one checkpoint, whole process",
            limit=limit,
            figures={KITARU: figures["script"]},
        ),
        Row(
            number="P6",
            work="`kitaru --help`, whole process",
            limit=limit,
            at_most=0.300,
            figures={KITARU: figures["help"]},
        ),
    ]


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )
    return time.perf_counter() - began
