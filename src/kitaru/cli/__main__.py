"""`python -m kitaru.cli`."""

from __future__ import annotations

from kitaru.cli.main import run

if __name__ == "__main__":
    run()
