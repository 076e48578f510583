"""How an execution ended, and which of its calls contradicted their records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kitaru import settings
from kitaru.model import ExecutionStatus

if TYPE_CHECKING:
    from kitaru.client.models import Execution


def outcome_of(execution: Execution) -> dict[str, object]:
    """Return how an execution ended, as JSON values."""
    if execution.failure is not None:
        failure = execution.failure
        told = {"type": failure.exception_type, "message": failure.message}
        return {"status": execution.status.value, "failure": told}
    if execution.status is not ExecutionStatus.COMPLETED:
        return {"status": execution.status.value}
    return {"status": execution.status.value, "result": execution.describe_result()}


def divergences_of(executions: list[Execution]) -> list[str]:
    """Return in words which calls were not asked as they are recorded."""
    from kitaru.worker import local_runner

    store = local_runner(settings.current()).store
    return [
        _divergence(execution, json.loads(event.payload))
        for execution in executions
        for _, event in store.list_events(execution.exec_id)
        if event.kind == "divergence"
    ]


def _divergence(execution: Execution, payload: Mapping[str, Any]) -> str:
    call = f"call {payload['call_id']!r} of flow {execution.flow_name!r}"
    if payload["action"] == "unasked":
        return f"{call} is recorded, and was not asked for again"
    differing = "; ".join(
        f"argument {name!r} was {views['recorded']} and is {views['now']}"
        for name, views in payload["arguments"].items()
    )
    return f"{call} was asked with other arguments: {differing or 'they differ'}"
