"""Live events: what running flows and checkpoints tell whoever watches.

`publish` tells something of your own kind; `kitaru.progress` is the short way to say how far the work is.
`KitaruClient().executions.events()` and `FlowHandle.events()` read them, while the execution runs and
afterwards. Nothing in a run depends on events: they may be lost in a crash, and old ones are forgotten.
"""

from __future__ import annotations

from kitaru.authoring.telling import publish
from kitaru.engine import feed as _feed
from kitaru.model import EventKind

__all__ = [
    "CHECKPOINT_FAILED_KIND",
    "CHECKPOINT_PROGRESS_KIND",
    "CHECKPOINT_RETURNED_KIND",
    "CHECKPOINT_STARTED_KIND",
    "EventKind",
    "flush",
    "publish",
]

CHECKPOINT_STARTED_KIND = EventKind.CHECKPOINT_STARTED
CHECKPOINT_PROGRESS_KIND = EventKind.CHECKPOINT_PROGRESS
CHECKPOINT_RETURNED_KIND = EventKind.CHECKPOINT_RETURNED
CHECKPOINT_FAILED_KIND = EventKind.CHECKPOINT_FAILED


def flush(timeout: float = 2.0) -> bool:
    """Wait, up to `timeout` seconds, until what this process has told can be read; return whether it can.

    Also true of what was given up because the store failed: there is nothing more to wait for.
    """
    return _feed.flush(timeout)
