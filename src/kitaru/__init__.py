"""Kitaru: durable execution for Python agents.

Mark functions with `@flow` and `@checkpoint`; what they return is recorded, so that a run survives
crashes and goes on where it stopped.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitaru import events
    from kitaru._version import __version__
    from kitaru.authoring.artifacts import load, save
    from kitaru.authoring.checkpoint import Checkpoint, checkpoint
    from kitaru.authoring.configuration import KitaruConfig, configure, connect
    from kitaru.authoring.flow import Flow, flow
    from kitaru.authoring.handle import FlowHandle
    from kitaru.authoring.introspection import (
        CallContext,
        current_call,
        current_execution_id,
        log,
    )
    from kitaru.authoring.recorded import now, random, uuid4
    from kitaru.authoring.telling import progress
    from kitaru.authoring.waits import sleep, wait
    from kitaru.client import (
        ArtifactRef,
        CheckpointAttempt,
        CheckpointCall,
        Execution,
        ExecutionEvent,
        FailureInfo,
        KitaruClient,
        LogEntry,
    )
    from kitaru.engine.futures import CheckpointFuture, CheckpointFutures
    from kitaru.errors import (
        FailureOrigin,
        KitaruAuthError,
        KitaruBackendError,
        KitaruBudgetExceededError,
        KitaruContextError,
        KitaruDeploymentInputValuesError,
        KitaruDivergenceError,
        KitaruError,
        KitaruExecutionError,
        KitaruFeatureNotAvailableError,
        KitaruLogRetrievalError,
        KitaruNotFoundError,
        KitaruRuntimeError,
        KitaruSerializationError,
        KitaruStackIntegrationDependencyError,
        KitaruStateError,
        KitaruTimeoutError,
        KitaruUsageError,
        KitaruUserCodeError,
        KitaruWaitAbortedError,
        KitaruWaitExpiredError,
        KitaruWaitValidationError,
    )
    from kitaru.model import ExecutionStatus
    from kitaru.retry import RetryPolicy

# Where each public name is defined. They are imported when they are first used, so that
# `import kitaru` costs next to nothing.
_HOMES = {
    "_version": ("__version__",),
    "authoring.artifacts": ("load", "save"),
    "authoring.checkpoint": ("Checkpoint", "checkpoint"),
    "authoring.configuration": ("KitaruConfig", "configure", "connect"),
    "authoring.flow": ("Flow", "flow"),
    "authoring.handle": ("FlowHandle",),
    "authoring.introspection": ("CallContext", "current_call", "current_execution_id", "log"),
    "authoring.recorded": ("now", "random", "uuid4"),
    "authoring.telling": ("progress",),
    "authoring.waits": ("sleep", "wait"),
    "client": (
        "ArtifactRef",
        "CheckpointAttempt",
        "CheckpointCall",
        "Execution",
        "ExecutionEvent",
        "FailureInfo",
        "KitaruClient",
        "LogEntry",
    ),
    "engine.futures": ("CheckpointFuture", "CheckpointFutures"),
    "errors": (
        "FailureOrigin",
        "KitaruAuthError",
        "KitaruBackendError",
        "KitaruBudgetExceededError",
        "KitaruContextError",
        "KitaruDeploymentInputValuesError",
        "KitaruDivergenceError",
        "KitaruError",
        "KitaruExecutionError",
        "KitaruFeatureNotAvailableError",
        "KitaruLogRetrievalError",
        "KitaruNotFoundError",
        "KitaruRuntimeError",
        "KitaruSerializationError",
        "KitaruStackIntegrationDependencyError",
        "KitaruStateError",
        "KitaruTimeoutError",
        "KitaruUsageError",
        "KitaruUserCodeError",
        "KitaruWaitAbortedError",
        "KitaruWaitExpiredError",
        "KitaruWaitValidationError",
    ),
    "model": ("ExecutionStatus",),
    "retry": ("RetryPolicy",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ArtifactRef",
    "CallContext",
    "Checkpoint",
    "CheckpointAttempt",
    "CheckpointCall",
    "CheckpointFuture",
    "CheckpointFutures",
    "Execution",
    "ExecutionEvent",
    "ExecutionStatus",
    "FailureInfo",
    "FailureOrigin",
    "Flow",
    "FlowHandle",
    "KitaruAuthError",
    "KitaruBackendError",
    "KitaruBudgetExceededError",
    "KitaruClient",
    "KitaruConfig",
    "KitaruContextError",
    "KitaruDeploymentInputValuesError",
    "KitaruDivergenceError",
    "KitaruError",
    "KitaruExecutionError",
    "KitaruFeatureNotAvailableError",
    "KitaruLogRetrievalError",
    "KitaruNotFoundError",
    "KitaruRuntimeError",
    "KitaruSerializationError",
    "KitaruStackIntegrationDependencyError",
    "KitaruStateError",
    "KitaruTimeoutError",
    "KitaruUsageError",
    "KitaruUserCodeError",
    "KitaruWaitAbortedError",
    "KitaruWaitExpiredError",
    "KitaruWaitValidationError",
    "LogEntry",
    "RetryPolicy",
    "__version__",
    "checkpoint",
    "configure",
    "connect",
    "current_call",
    "current_execution_id",
    "events",
    "flow",
    "load",
    "log",
    "now",
    "progress",
    "random",
    "save",
    "sleep",
    "uuid4",
    "wait",
]


def __getattr__(name: str) -> object:
    if name == "events":
        # A module of its own; importing it also sets the name.
        return import_module("kitaru.events")
    home = _HOME_OF.get(name)
    if home is None:
        message = f"module 'kitaru' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"kitaru.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
