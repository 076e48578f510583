"""The audit's report as Markdown, and how a file gets written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.repo_audit.measures import Finding, ModuleFacts

_FINDINGS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Choice:
    """A module that deserves a closer look, and why."""

    module: str
    score: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloserLook:
    """What the closer look found."""

    module: str
    findings: tuple[Finding, ...]


def render(
    title: str,
    modules: Sequence[ModuleFacts],
    choices: Sequence[Choice],
    looks: Sequence[CloserLook],
) -> str:
    """Return the report: totals, the modules that were looked at closely, and all modules."""
    return "\n".join(
        [
            f"# Audit of {title}",
            "",
            *_totals(modules),
            "",
            "## Looked at closely",
            "",
            *(line for pair in zip(choices, looks, strict=True) for line in _closely(*pair)),
            "## All modules",
            "",
            "| Module | Lines | Functions | Complexity | Undocumented | To do |",
            "|---|---:|---:|---:|---:|---:|",
            *(_row(facts) for facts in modules),
            "",
        ]
    )


def _totals(modules: Sequence[ModuleFacts]) -> Iterator[str]:
    yield f"- {len(modules)} modules with {sum(facts.lines for facts in modules):,} lines"
    functions = sum(facts.functions for facts in modules)
    complexity = sum(facts.complexity for facts in modules)
    mean = f", complexity {complexity / functions:.1f} on average" if functions else ""
    yield f"- {functions:,} functions{mean}"
    undocumented = sum(len(facts.undocumented) for facts in modules)
    yield f"- {undocumented} public things without a docstring"
    yield f"- {sum(facts.todos for facts in modules)} comments that say TODO, FIXME or XXX"
    for facts in modules:
        for problem in facts.problems:
            yield f"- `{facts.module}`: {problem}"


def _closely(choice: Choice, look: CloserLook) -> Iterator[str]:
    yield f"### `{choice.module}`"
    yield ""
    yield f"Chosen for {', '.join(choice.reasons)}."
    yield ""
    for finding in look.findings[:_FINDINGS_SHOWN]:
        yield f"- line {finding.line}: {finding.text}"
    if not look.findings:
        yield "- nothing stands out on the closer look"
    if (more := len(look.findings) - _FINDINGS_SHOWN) > 0:
        yield f"- … and {more} more"
    yield ""


def _row(facts: ModuleFacts) -> str:
    if not facts.is_parsed:
        return f"| `{facts.module}` | {facts.lines:,} | | | | |"
    return (
        f"| `{facts.module}` | {facts.lines:,} | {facts.functions} | {facts.complexity}"
        f" | {len(facts.undocumented)} | {facts.todos} |"
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it sees the old text or the new one, never a part.

    Safe to repeat, which a checkpoint's body has to be: it may run again after a crash.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}-", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
