"""`python -m soak`: many flows for minutes or hours while workers die; exit 1 if a promise was broken."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import kitaru
from soak.checking import check
from soak.driving import Driver, Plan
from soak.evidence import Evidence
from soak.fleet import ROOT
from soak.report import report


def main() -> int:
    """Soak as the command line says; return the exit code."""
    options = _options()
    if options.check is not None:
        return _judge(options.check)
    plan = Plan(
        seconds=options.minutes * 60,
        kill_every=options.kill_every,
        workers=options.workers,
        seed=options.seed,
        rate=options.rate,
        keep_seconds=options.keep,
        has_attendant=not options.no_attendant,
    )
    # In the checkout, as benchmarks do: a system's temporary directory is often kept in memory.
    above: Path = options.directory or ROOT / "build"
    above.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=above))
    _tell(f"soaking for {options.minutes:g} min in {folder}, seed {options.seed}")
    _settle(folder)
    Driver(folder, plan, _tell).run()
    code = _judge(folder)
    if code == 0 and not options.keep_folder:
        shutil.rmtree(folder)
    else:
        _tell(f"store, books and logs are in {folder}")
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; default 10")
    parser.add_argument(
        "--kill-every",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="between strikes; default 5",
    )
    parser.add_argument("--workers", type=int, default=3, help="how many, one is spared; default 3")
    parser.add_argument("--seed", type=int, default=1, help="of the mix and the strikes; default 1")
    parser.add_argument("--rate", type=float, default=5.0, help="orders per second; default 5")
    parser.add_argument(
        "--keep", type=float, default=20.0, metavar="SECONDS", help="executions that are over"
    )
    parser.add_argument("--no-attendant", action="store_true", help="without `kitaru up`")
    parser.add_argument("--directory", type=Path, help="where to put the folder; default build/")
    parser.add_argument("--keep-folder", action="store_true", help="also when all is fine")
    parser.add_argument(
        "--check", type=Path, metavar="FOLDER", help="only judge a kept folder again"
    )
    return parser.parse_args()


def _settle(folder: Path) -> None:
    """Have this process use the store in the folder, whatever its environment says."""
    for name in [name for name in os.environ if name.startswith("KITARU_")]:
        del os.environ[name]
    kitaru.configure(config_dir=str(folder / "kitaru"))


def _judge(folder: Path) -> int:
    evidence = Evidence.of(folder)
    verdicts = check(evidence)
    print(report(evidence, verdicts), flush=True)
    return 1 if any(verdict.broken for verdict in verdicts) else 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
