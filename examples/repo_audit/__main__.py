"""Audit a source tree: `python -m examples.repo_audit PATH [--top N] [--report FILE]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.repo_audit.flow import audit, say


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.repo_audit", description=__doc__)
    parser.add_argument("path", type=Path, help="a folder with Python files, or one file")
    parser.add_argument("--top", type=int, default=5, help="modules to look at closely (5)")
    parser.add_argument("--report", type=Path, help="write the report here instead of to stdout")
    options = parser.parse_args()
    if not options.path.exists():
        parser.error(f"{options.path} does not exist")

    report_path = None if options.report is None else str(options.report.absolute())
    handle = audit.run(str(options.path.resolve()), options.top, report_path)
    say(f"execution {handle.exec_id}")
    report = handle.wait()
    if report_path is None:
        print(report)


if __name__ == "__main__":
    main()
