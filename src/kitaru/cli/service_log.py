"""What long-lived commands say on stderr: one line per thing that happened, with the moment."""

from __future__ import annotations

import logging

from kitaru.cli.main import debugging


def log_to_stderr() -> None:
    """Show Kitaru's own log records from `INFO` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)-7s %(message)s"))
    own = logging.getLogger("kitaru")
    own.addHandler(handler)
    own.setLevel(logging.DEBUG if debugging() else logging.INFO)
    own.propagate = False


class _Lines(logging.Formatter):
    """Adds which execution a record is about, where its text does not say so."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        facts = [
            f"{name}={value}"
            for name in ("exec_id", "flow", "epoch", "action")
            if (value := getattr(record, name, None)) is not None and str(value) not in line
        ]
        return " ".join([line, *facts])
