"""Kill an audit with SIGKILL in the middle of its work, recover it, and prove that nothing ran twice.

`make demo`, or `python -m examples.repo_audit.demo [PATH]`.

The proof does not take Kitaru's word for it. Each body of `inspect_module` and `look_closer` first appends
a line of its own to a file and flushes it to disk. After the kill and before the recovery, the demo notes
which calls are recorded; at the end, each of those must have left exactly one line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import kitaru
from examples.repo_audit import witness
from examples.repo_audit.flow import AT_ONCE, Tree
from examples.repo_audit.witness import Effect, read_effects
from kitaru import CheckpointCall, Execution, ExecutionStatus, KitaruClient

FAN_OUT_SECONDS = 3.5  # how long the inspections take in all, however many modules there are
LONGEST_PACE_SECONDS = 1.0
FEWEST_MODULES = 2 * AT_ONCE + 2  # so that some are recorded, some running and some waiting
PATIENCE_SECONDS = 300.0  # for large trees on slow machines
_POLL_SECONDS = 0.02


class DemoError(Exception):
    """The demo cannot show what it is there to show."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the proof rests on.

    Attributes:
        killed_pid: The process that was killed.
        before: The recorded calls by id, read after the kill and before the recovery.
        after: The recorded calls at the end.
        effects: The lines that bodies left, in order.
    """

    killed_pid: int
    before: Mapping[str, CheckpointCall]
    after: Mapping[str, CheckpointCall]
    effects: Sequence[Effect]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence says.

    Attributes:
        ran_again: Calls recorded before the kill whose bodies did not leave exactly one line.
        changed: Calls recorded before the kill whose records are not the same at the end.
        in_flight: Calls whose bodies had begun and were not recorded when the kill came.
        repeated: Those of them whose bodies ran again, as they have to.
        never_ran: Calls that ought to have left a line and did not.
    """

    ran_again: tuple[str, ...]
    changed: tuple[str, ...]
    in_flight: tuple[str, ...]
    repeated: tuple[str, ...]
    never_ran: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether each recorded body ran once, and every other one at least once."""
        return not (self.ran_again or self.changed or self.never_ran)


def judge(evidence: Evidence) -> Verdict:
    """Hold what bodies did against what was recorded."""
    lines = Counter(effect.call_id for effect in evidence.effects)
    begun = {effect.call_id for effect in evidence.effects if effect.pid == evidence.killed_pid}
    watched = {name for name, call in evidence.after.items() if _is_watched(call)}
    recorded = evidence.before.keys()
    in_flight = begun - recorded
    return Verdict(
        ran_again=_ordered(name for name in recorded & watched if lines[name] != 1),
        changed=_ordered(
            name for name in recorded if evidence.after.get(name) != evidence.before[name]
        ),
        in_flight=_ordered(in_flight),
        repeated=_ordered(name for name in in_flight if lines[name] > 1),
        never_ran=_ordered(name for name in watched if lines[name] == 0),
    )


def _is_watched(call: CheckpointCall) -> bool:
    return call.name in {"inspect_module", "look_closer"}


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (len(name), name)))


@dataclass(frozen=True, slots=True)
class Stage:
    """Where one showing of the demo takes place.

    Attributes:
        root: What is audited.
        store: The folder of a store of its own, gone afterwards.
        report: Where the report will be.
    """

    root: Path
    store: Path
    report: Path

    @property
    def effects(self) -> Path:
        """The file in which bodies leave their lines."""
        return self.store / "effects.jsonl"

    def environment(self) -> dict[str, str]:
        """Return what the demo's processes are told."""
        inherited = {name: text for name, text in os.environ.items() if name[:7] != "KITARU_"}
        modules = max(1, sum(1 for _ in self.root.rglob("*.py")))
        pace = min(LONGEST_PACE_SECONDS, FAN_OUT_SECONDS * AT_ONCE / modules)
        return {
            **inherited,
            "KITARU_CONFIG_PATH": str(self.store),
            "PYTHONUNBUFFERED": "1",  # what a body printed is seen even if it is killed right after
            witness.FILE_VARIABLE: str(self.effects),
            witness.PACE_VARIABLE: f"{pace:.3f}",
        }


def show(stage: Stage) -> bool:
    """Play the demo and return whether the proof holds."""
    os.environ["KITARU_CONFIG_PATH"] = str(stage.store)  # this process only reads there
    executions = KitaruClient().executions

    _title(f"1. An agent audits {stage.root} in a process of its own")
    module = ["examples.repo_audit", str(stage.root), "--report", str(stage.report)]
    with _process(stage, module) as agent:
        exec_id, total = _wait_until_half_is_recorded(agent)
        agent.kill()  # SIGKILL: no handler, no clean-up, nothing gets flushed any more
        agent.wait()
    # Read before anything else may touch the store. Whoever wrote to it is dead.
    killed = executions.get(exec_id)
    before = _recorded(killed)
    inspected = _count_inspected(before)
    if killed.status is not ExecutionStatus.RUNNING or not 0 < inspected < total:
        message = f"the kill came too late: {inspected} of {total} modules, {killed.status.value}"
        raise DemoError(message)

    _title(f"2. kill -9 {agent.pid}, after {inspected} of {total} modules were recorded")
    _kitaru(stage, "executions", "get", exec_id)

    _title("3. Another process recovers the execution")
    # On a terminal its stderr is a live picture; elsewhere a line per call, which says too much here.
    _kitaru(stage, "executions", "recover", exec_id, is_quiet=not sys.stderr.isatty())

    done = executions.get(exec_id)
    after = _recorded(done)
    evidence = Evidence(agent.pid, before, after, read_effects(stage.effects))
    verdict = judge(evidence)
    audited = _count_inspected(after)
    completed = done.status is ExecutionStatus.COMPLETED and audited == total
    _title("4. What the bodies themselves left on disk")
    _print_evidence(evidence, verdict)
    print()
    print(f"Report:                                        {stage.report}")
    print(f"Modules audited:                               {audited}")
    print(f"Checkpoints recorded before the kill:          {len(before)}")
    print(f"Recorded bodies that ran again after it:       {len(verdict.ran_again)}")
    print(f"Bodies cut off by the kill, which ran again:   {len(verdict.repeated)}")
    return completed and verdict.holds and stage.report.is_file()


def _wait_until_half_is_recorded(agent: subprocess.Popen[bytes]) -> tuple[str, int]:
    """Look at the store until half of the modules are recorded; return the execution and their number."""
    executions = KitaruClient().executions
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for summary in executions.list(flow="audit"):
            calls = _recorded(summary.refresh())
            if "list_modules" in calls:
                tree: Tree = kitaru.load(summary.exec_id, "list_modules")
                if len(tree.modules) < FEWEST_MODULES:
                    message = f"{tree.root} has fewer than {FEWEST_MODULES} modules"
                    raise DemoError(message)
                if 2 * _count_inspected(calls) >= len(tree.modules):
                    return summary.exec_id, len(tree.modules)
        if agent.poll() is not None:
            message = f"the audit ended by itself, with exit code {agent.returncode}"
            raise DemoError(message)
        time.sleep(_POLL_SECONDS)
    message = f"half of the modules were not recorded within {PATIENCE_SECONDS:.0f} s"
    raise DemoError(message)


def _recorded(execution: Execution) -> dict[str, CheckpointCall]:
    """Return the calls whose results are recorded; the others have only begun."""
    calls = execution.checkpoints
    return {call.call_id: call for call in calls if call.status is ExecutionStatus.COMPLETED}


def _count_inspected(calls: Mapping[str, CheckpointCall]) -> int:
    return sum(call.name == "inspect_module" for call in calls.values())


def _print_evidence(evidence: Evidence, verdict: Verdict) -> None:
    pids = Counter(effect.pid for effect in evidence.effects)
    for pid, count in pids.items():
        which = "which was killed" if pid == evidence.killed_pid else "which recovered"
        print(f"{count:4} bodies began in process {pid}, {which}")
    recorded = sum(_is_watched(call) for call in evidence.before.values())
    print(f"{recorded:4} of them were recorded before the kill; their lines were counted:")
    if not verdict.ran_again:
        print("       each has exactly one, and none of their records has changed since")
    for name in verdict.ran_again:
        lines = sum(effect.call_id == name for effect in evidence.effects)
        print(f"       NOT SO: {name} has {lines}")
    for name in verdict.changed:
        print(f"       NOT SO: the record of {name} has changed")
    for name in verdict.never_ran:
        print(f"       NOT SO: {name} never left a line")
    print(f"{len(verdict.in_flight):4} were cut off in the middle, before there was a result:")
    print(f"       {', '.join(verdict.in_flight) or 'none'}")


def _kitaru(stage: Stage, *words: str, is_quiet: bool = False) -> None:
    """Run a `kitaru` command, as a user would; a quiet one says on stderr only why it failed."""
    with tempfile.TemporaryFile() as said:
        with _process(stage, ["kitaru", *words], stderr=said if is_quiet else None) as child:
            code = child.wait()
        said.seek(0)
        if code:
            print(said.read().decode(errors="replace"), end="", file=sys.stderr)
    if code:
        message = f"`kitaru {' '.join(words)}` ended with exit code {code}"
        raise DemoError(message)


@contextmanager
def _process(
    stage: Stage, module: Sequence[str], *, stderr: IO[bytes] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Start `python -m MODULE …`, and make sure that it is gone in the end."""
    print(_dim(f"$ python -m {' '.join(module)}"), flush=True)
    with subprocess.Popen(
        [sys.executable, "-m", *module],
        env=stage.environment(),
        stdin=subprocess.DEVNULL,
        stderr=stderr,
    ) as child:
        try:
            yield child
        finally:
            child.kill()  # nothing happens if it has ended


def _title(text: str) -> None:
    print(f"\n{_styled('1', text)}", flush=True)


def _dim(text: str) -> str:
    return _styled("2", text)


def _styled(code: str, text: str) -> str:
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\033[{code}m{text}\033[0m"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.repo_audit.demo")
    default = Path(asyncio.__file__).parent
    parser.add_argument("path", type=Path, nargs="?", default=default, help="a Python source tree")
    parser.add_argument("--report", type=Path, help="where to write the report")
    options = parser.parse_args()
    if not options.path.is_dir():
        parser.error(f"{options.path} is no folder")

    # The report stays for reading; the folder goes again if there is none.
    folder = None if options.report else Path(tempfile.mkdtemp(prefix="kitaru-demo-"))
    report: Path = options.report.absolute() if folder is None else folder / "report.md"
    try:
        with tempfile.TemporaryDirectory(prefix="kitaru-demo-store-") as store:
            proved = show(Stage(options.path.resolve(), Path(store), report))
    except DemoError as error:
        print(f"\nThe demo could not be shown: {error}.", file=sys.stderr)
        proved = False
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT; everything that was started has been ended
    finally:
        if folder is not None and not report.exists():
            shutil.rmtree(folder)
    return 0 if proved else 1


if __name__ == "__main__":
    sys.exit(main())
