"""Looking at executions from outside, and acting on them: `KitaruClient` and what it returns."""

from __future__ import annotations

from kitaru.client.client import KitaruClient
from kitaru.client.comparing import ChangeKind, ValueChange, ValueDiff
from kitaru.client.diffing import CallDiff, DiffKind, ExecutionDiff
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
from kitaru.client.statistics import (
    CheckpointStatistics,
    ExecutionStatistics,
    FlowStatistics,
    SpanStatistics,
    WaitStatistics,
)
from kitaru.client.story import Explanation, WhyReason
from kitaru.errors import FailureOrigin
from kitaru.model import ExecutionStatus, WaitStatus
from kitaru.pruning import Pruned, PrunedGroup
from kitaru.retention import RetentionRule, Space

__all__ = [
    "ArtifactRef",
    "CallDiff",
    "ChangeKind",
    "CheckpointAttempt",
    "CheckpointCall",
    "CheckpointStatistics",
    "DiffKind",
    "Execution",
    "ExecutionDiff",
    "ExecutionEvent",
    "ExecutionStatistics",
    "ExecutionStatus",
    "Explanation",
    "FailureInfo",
    "FailureOrigin",
    "FlowStatistics",
    "KitaruClient",
    "LogEntry",
    "PendingWait",
    "Pruned",
    "PrunedGroup",
    "RetentionRule",
    "Space",
    "SpanStatistics",
    "ValueChange",
    "ValueDiff",
    "WaitStatistics",
    "WaitStatus",
    "WhyReason",
]
