"""`python -m benchmarks`: measure everything, print a table, keep it in RESULTS.md."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measures import MEASURES
from benchmarks.measuring import ROOT, Bench, Row
from benchmarks.profiling import PROFILED, show_profile
from benchmarks.report import file_system, page, table
from benchmarks.sizes import SIZES

_RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    options = _options()
    # In the checkout, because a system's temporary directory is often kept in memory, where a flush
    # to disk costs nothing.
    above: Path = options.directory or ROOT / "build"
    above.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=above) as directory:
        bench = Bench(
            SIZES[options.size], Path(directory), keep=options.keep, runner=options.runner
        )
        if file_system(bench.directory) in ("tmpfs", "ramfs"):
            print("This directory is in memory: flushing costs nothing here.", file=sys.stderr)
        try:
            if options.profile:
                for name in options.measures or PROFILED:
                    show_profile(name, bench)
            else:
                _measure(options, bench)
        finally:
            bench.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", metavar="measure", help=f"some of {', '.join(MEASURES)}; default all"
    )
    parser.add_argument("--size", choices=SIZES, default="full", help="how much work")
    parser.add_argument(
        "--quick", action="store_const", const="quick", dest="size", help="as --size quick"
    )
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead")
    parser.add_argument("--directory", type=Path, help="where to put stores; default build/")
    parser.add_argument(
        "--keep", type=Path, help="keep stores of many executions here, and use those that are here"
    )
    parser.add_argument(
        "--runner",
        type=shlex.split,
        help="what p9 starts runners with; default: `recover()`, repeated",
    )
    parser.add_argument(
        "--output", type=Path, help="where to write the page; a full run writes RESULTS.md"
    )
    options = parser.parse_args()
    if unknown := set(options.measures) - set(MEASURES):
        parser.error(f"unknown measure {min(unknown)!r}; there are: {', '.join(MEASURES)}")
    if options.profile and (outside := set(options.measures) - set(PROFILED)):
        parser.error(f"{min(outside)!r} cannot be profiled; these can: {', '.join(PROFILED)}")
    return options


def _measure(options: argparse.Namespace, bench: Bench) -> None:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    rows: list[Row] = []
    for name in options.measures or MEASURES:
        began = time.monotonic()
        rows += MEASURES[name](bench)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(rows, bench))
    is_whole = not options.measures and options.size == "full"
    output: Path | None = options.output or (_RESULTS if is_whole else None)
    if output is not None:
        output.write_text(page(rows, bench, load), "utf-8")


if __name__ == "__main__":
    main()
