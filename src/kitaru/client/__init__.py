"""Looking at executions from outside, and acting on them: `KitaruClient` and what it returns."""

from __future__ import annotations

from kitaru.client.client import KitaruClient
from kitaru.client.event_reading import ExecutionEvent
from kitaru.client.models import (
    ArtifactRef,
    CheckpointAttempt,
    CheckpointCall,
    Execution,
    FailureInfo,
    LogEntry,
    PendingWait,
)
from kitaru.client.story import Explanation, WhyReason
from kitaru.errors import FailureOrigin
from kitaru.model import ExecutionStatus, WaitStatus

__all__ = [
    "ArtifactRef",
    "CheckpointAttempt",
    "CheckpointCall",
    "Execution",
    "ExecutionEvent",
    "ExecutionStatus",
    "Explanation",
    "FailureInfo",
    "FailureOrigin",
    "KitaruClient",
    "LogEntry",
    "PendingWait",
    "WaitStatus",
    "WhyReason",
]
