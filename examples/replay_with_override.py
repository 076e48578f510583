"""What if: run a report again with one finding replaced, and see which calls ran again.

The replay is an execution of its own. What does not depend on the change returns what it returned in the
old one, and costs nothing.
"""

from __future__ import annotations

import sys

from kitaru import KitaruClient, checkpoint, flow


@checkpoint(type="tool_call")
def search(city: str) -> str:
    say(f"searching {city}")
    return f"bees in {city}: few"


@checkpoint(type="llm_call")
def judge(finding: str) -> str:
    say(f"judging {finding}")
    return f"{finding} ({'a problem' if finding.endswith('few') else 'all is well'})"


@checkpoint(type="llm_call")
def summarize(judgements: list[str]) -> str:
    say("summarizing")
    return "; ".join(judgements)


@flow
def report(cities: list[str]) -> str:
    findings = search.map(cities)
    return summarize(judge.map(findings).result())


def say(line: str) -> None:
    sys.stdout.write(f"  {line}\n")  # in one piece, although several threads write


if __name__ == "__main__":
    print("the first run:")
    first = report.run(["Oslo", "Rome", "Lima"])
    print(first.wait())

    print("had Rome been different:")
    second = report.replay(first.exec_id, overrides={"checkpoint.search-2": "bees in Rome: many"})
    print(second.wait())

    print("what became of the calls:")
    for call in KitaruClient().executions.get(second.exec_id).checkpoints:
        ran = "ran" if call.original_call_id is None else "was reused"
        print(f"  {call.position} {'was overridden' if call.is_overridden else ran}")
