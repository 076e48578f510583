"""`python -m kitaru` is the command-line interface."""

from __future__ import annotations

from kitaru.cli.main import run

if __name__ == "__main__":
    run()
