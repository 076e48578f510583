"""What runs print and log: captured per call, shown as usual, kept for whoever looks later."""

from __future__ import annotations

from kitaru.logs.capture import LogCapture, LogTarget, Sink, flush, target

__all__ = ["LogCapture", "LogTarget", "Sink", "flush", "target"]
