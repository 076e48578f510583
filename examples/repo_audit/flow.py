"""Audit a Python source tree: look at every module, decide which deserve more, look again, report.

It has the shape of most agents: gather, fan out, let a planner decide what to do next, do it, write
up. Each step is a checkpoint, so a run that is killed goes on where it was, in another process if need
be, and no module whose inspection was recorded is inspected again.

The flow itself is ordinary Python. What makes it survive:

* what it does between checkpoints is cheap and the same every time;
* whatever is slow, costly or depends on the outside world (here: the file system) is in a checkpoint;
* the one body with an effect, `write_report`, may be repeated without harm.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import kitaru
from examples.repo_audit.measures import (
    TOO_COMPLEX,
    TOO_LONG,
    ModuleFacts,
    find_smells,
    measure,
)
from examples.repo_audit.report import Choice, CloserLook, render, write_whole
from examples.repo_audit.witness import witnessed
from kitaru import checkpoint, flow

AT_ONCE = 4  # modules inspected at the same time
_NOT_SOURCE = {"__pycache__", "node_modules", "site-packages"}


@dataclass(frozen=True, slots=True)
class Tree:
    """The modules to audit, as paths below an absolute root: a run may go on from another folder."""

    root: str
    modules: tuple[str, ...]


@flow
def audit(root: str, top: int = 5, report_path: str | None = None) -> str:
    """Audit the Python files below `root` and return the report.

    Args:
        root: A folder, or a single file.
        top: How many modules get a closer look.
        report_path: Where to write the report as well.
    """
    tree = list_modules(root)
    facts = inspect_module.map(tree.root, tree.modules, max_concurrency=AT_ONCE).result()
    choices = plan_closer_look(facts, top)
    looks = look_closer.map(
        tree.root, [choice.module for choice in choices], max_concurrency=AT_ONCE
    ).result()
    kitaru.log(modules=len(facts), closer_looks=[choice.module for choice in choices])
    return write_report(Path(tree.root).name, facts, choices, looks, report_path)


@checkpoint(type="tool_call")
def list_modules(root: str) -> Tree:
    """Find the Python files; recorded, so that files added later do not change this run."""
    start = Path(root).resolve(strict=True)
    if start.is_file():
        return Tree(str(start.parent), (start.name,))
    found = [path.relative_to(start) for path in start.rglob("*.py") if path.is_file()]
    modules = sorted(path.as_posix() for path in found if _is_source(path))
    say(f"found {len(modules)} modules in {start}")
    return Tree(str(start), tuple(modules))


@checkpoint(type="tool_call")
@witnessed  # for the demo, which proves that no recorded body ran again; does nothing otherwise
def inspect_module(root: str, module: str) -> ModuleFacts:
    """Measure one module."""
    facts = measure(module, Path(root, module).read_bytes())
    kitaru.log(lines=facts.lines, functions=facts.functions, complexity=facts.complexity)
    say(f"inspected {module}: {facts.lines} lines, {facts.functions} functions")
    return facts


@checkpoint(type="planner")
def plan_closer_look(facts: Sequence[ModuleFacts], top: int) -> list[Choice]:
    """Choose the modules that deserve a closer look.

    A score decides here, so that the example needs no account anywhere. In an agent this is where a
    model is asked; then it matters most that the answer is recorded, because the next one would differ.
    """
    scored = [Choice(each.module, _score(each), tuple(_reasons(each))) for each in facts]
    worthy = [choice for choice in scored if choice.reasons]
    chosen = sorted(worthy, key=lambda choice: (-choice.score, choice.module))[:top]
    say(f"a closer look at {', '.join(choice.module for choice in chosen) or 'nothing'}")
    return chosen


@checkpoint(type="tool_call")
@witnessed
def look_closer(root: str, module: str) -> CloserLook:
    """Review one module function by function."""
    findings = find_smells(Path(root, module).read_bytes())
    kitaru.log(findings=len(findings))
    say(f"looked closer at {module}: {len(findings)} findings")
    return CloserLook(module, tuple(findings))


@checkpoint(type="tool_call")
def write_report(
    title: str,
    facts: Sequence[ModuleFacts],
    choices: Sequence[Choice],
    looks: Sequence[CloserLook],
    report_path: str | None,
) -> str:
    """Put everything together; also kept as the artifact `report.md`."""
    text = render(title, facts, choices, looks)
    kitaru.save("report.md", text)
    if report_path is not None:
        # If the process dies after this line and before the result is recorded, the body runs
        # again and replaces the file by the same text.
        write_whole(Path(report_path), text)
        say(f"wrote {report_path}")
    return text


def say(line: str) -> None:
    """Print a line that stays whole when several threads print."""
    # One write: `print` makes two, between which another thread may write.
    sys.stdout.write(f"{line}\n")


def _is_source(path: Path) -> bool:
    return not any(part.startswith(".") or part in _NOT_SOURCE for part in path.parts)


def _score(facts: ModuleFacts) -> int:
    if not facts.is_parsed:
        return 1000  # nothing else about it is known
    hardest = max((function.complexity for function in facts.most_complex), default=0)
    longest = max((function.lines for function in facts.longest), default=0)
    return 4 * hardest + longest // 4 + len(facts.undocumented) + 2 * facts.todos


def _reasons(facts: ModuleFacts) -> Iterator[str]:
    if facts.problems:
        yield "what the parser says"
    for function in facts.most_complex[:1]:
        if function.complexity > TOO_COMPLEX:
            yield f"the complexity of `{function.name}` ({function.complexity})"
    for function in facts.longest[:1]:
        if function.lines > TOO_LONG:
            yield f"the length of `{function.name}` ({function.lines} lines)"
    if len(facts.undocumented) > 5:
        yield f"{len(facts.undocumented)} public things without a docstring"
    if facts.todos:
        yield f"{facts.todos} comments that say TODO, FIXME or XXX"
