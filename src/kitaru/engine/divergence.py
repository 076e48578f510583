"""What to say when a record contradicts the call that the flow makes in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from kitaru import codec
from kitaru.errors import FailureOrigin, KitaruBackendError, KitaruDivergenceError

if TYPE_CHECKING:
    from kitaru.engine.calls import Call
    from kitaru.engine.journal import Match
    from kitaru.engine.values import Values
    from kitaru.model import ExecutionRecord

_VIEW_LIMIT = 120


def divergence_payload(call: Call, match: Match, values: Values) -> dict[str, Any]:
    """Return the facts of a contradiction, as its event keeps them."""
    record = match.contradiction
    assert record is not None  # noqa: S101 - only called when there is one
    recorded = _arguments(values.fetch(record.inputs)) if record.inputs else {}
    present = _arguments(call.inputs)
    differing = {
        name: {"recorded": _view(recorded.get(name)), "now": _view(present.get(name))}
        for name in dict.fromkeys((*recorded, *present))
        if recorded.get(name) != present.get(name)
    }
    return {
        "call_id": record.call_id,
        "position": record.position,
        "checkpoint": record.name,
        "arguments": differing,
        "action": "fail" if match.diverged else "reuse" if match.record else "rerun",
    }


def divergence_error(execution: ExecutionRecord, payload: dict[str, Any]) -> KitaruDivergenceError:
    """Return the error that names the call, what differs, and the ways out."""
    differing = "; ".join(
        f"argument {name!r} was {views['recorded']} and is now {views['now']}"
        for name, views in payload["arguments"].items()
    )
    message = (
        f"checkpoint call {payload['call_id']!r} of execution {execution.id!r} contradicts its record:"
        f" {differing or 'its arguments differ'}. The flow's code has changed since, so the record may"
        f" not be what this call would give.\n"
        f"Ways out: put the code back and `kitaru executions retry {execution.id}`; say what to do with"
        f' `@flow(on_divergence="reuse")` or `"rerun"`; leave an argument that varies out of the'
        f" comparison with `@checkpoint(ignore=[...])`, or record it with `kitaru.now()`; or start a new"
        f" run. Nothing that was recorded is lost."
    )
    return KitaruDivergenceError(
        message, exec_id=execution.id, failure_origin=FailureOrigin.DIVERGENCE
    )


def _arguments(data: bytes) -> dict[str, Any]:
    try:
        described = codec.describe(data)
    except (ValueError, KitaruBackendError):
        return {}
    return cast("dict[str, Any]", described) if isinstance(described, dict) else {}


def _view(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _VIEW_LIMIT else f"{text[: _VIEW_LIMIT - 1]}…"
