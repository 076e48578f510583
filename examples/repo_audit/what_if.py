"""What an audit would say if one module had nothing to complain about.

Replays an audit with the inspection of that module overridden. Nothing is inspected again; the plan, new
looks and the report follow from the inspections, so they are made anew. The old audit stays as it was.
"""

from __future__ import annotations

import argparse

from examples.repo_audit.flow import audit
from examples.repo_audit.measures import ModuleFacts
from kitaru import CheckpointCall, KitaruClient


def main() -> None:
    """Replay an audit, and say how to compare the two."""
    parser = argparse.ArgumentParser(description=__doc__, prog="examples.repo_audit.what_if")
    parser.add_argument("exec_id", help="the audit, or how its id begins")
    parser.add_argument("module", help="the module, as the report calls it")
    parser.add_argument("--report", help="where to write the report; by default nowhere")
    given = parser.parse_args()

    old = KitaruClient().executions.get(given.exec_id)
    call, facts = find_inspection(old.checkpoints, given.module)
    spotless = ModuleFacts(facts.module, facts.lines, functions=facts.functions)
    handle = audit.replay(
        old.exec_id,
        overrides={f"checkpoint.{call.position}": spotless},
        report_path=given.report,
    )
    print(handle.wait().partition("\n## ")[0].strip())
    print(f"\nkitaru executions diff {old.exec_id} {handle.exec_id}")


def find_inspection(
    calls: tuple[CheckpointCall, ...], module: str
) -> tuple[CheckpointCall, ModuleFacts]:
    """Return the call that inspected a module, and what it found."""
    for call in calls:
        if call.name == "inspect_module":
            facts: ModuleFacts = call.artifacts[0].load()
            if facts.module == module:
                return call, facts
    raise SystemExit(f"the audit has not inspected {module!r}")


if __name__ == "__main__":
    main()
