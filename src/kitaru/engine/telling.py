"""What the engine itself tells those who watch, once it is recorded: how calls and waits go.

All of it goes through the feed, behind what the same bodies have told, so that it is read in that order.
Written beside the record it would overtake them, and cost every checkpoint a tenth more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from kitaru.model import EventKind, EventRecord, WaitKind, WaitRecord, WaitStatus

if TYPE_CHECKING:
    from kitaru.engine.calls import ActiveCall, Call
    from kitaru.engine.run import Run

# What the body raised may hold anything, also what is nobody's business: it is in the record.
_FAILED = "Checkpoint failed. Its execution has the error."

_WAIT_KIND = {
    WaitStatus.ANSWERED: EventKind.WAIT_ANSWERED,
    WaitStatus.ABORTED: EventKind.WAIT_ABORTED,
    WaitStatus.EXPIRED: EventKind.WAIT_EXPIRED,
}


@dataclass(slots=True)
class Sender:
    """Whose code is running: one attempt of a call, or the flow's own.

    Attributes:
        about: What readers are told of it with each event.
        correlation_id: The same for all that it tells, and for nothing else.
    """

    run: Run
    position: str
    about: dict[str, object]

    @property
    def correlation_id(self) -> str:
        """What its events have in common."""
        return str(self.about["correlation_id"])


def flow_sender(run: Run) -> Sender:
    """Return the flow's own body as a sender."""
    return Sender(
        run, "", {"correlation_id": _correlation_id(run, "execution", run.execution.flow)}
    )


def call_sender(active: ActiveCall) -> Sender:
    """Return a running attempt as a sender."""
    call = active.call
    about = _about(call)
    about["attempt"] = active.attempt
    about["correlation_id"] = _correlation_id(
        call.scope.run, "checkpoint", active.name, call.position, active.attempt
    )
    return Sender(call.scope.run, call.position, about)


def _about(call: Call) -> dict[str, object]:
    about: dict[str, object] = {"call": call.call_id, "name": call.spec.name}
    if call.spec.type is not None:
        about["type"] = call.spec.type
    return about


def _correlation_id(run: Run, what: str, name: str, position: str = "", attempt: int = 0) -> str:
    # Of the claim too: a body that a crash has cut off runs again as the same attempt.
    digest = _digest(f"{run.exec_id}\0{run.epoch}\0{position}\0{attempt}")
    return f"kitaru.{what}:{name}:{digest}"


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()


def tell_started(active: ActiveCall) -> None:
    """Tell that a body has been running for a while; the event has the moment at which it began."""
    clock = active.call.scope.run.clock
    began = clock.now() - int((clock.monotonic() - active.began) * 1_000_000)
    _tell_of(active, EventKind.CHECKPOINT_STARTED, {"status": "started"}, began)


def tell_returned(active: ActiveCall) -> None:
    """Tell that a body's result is recorded."""
    _tell_of(active, EventKind.CHECKPOINT_RETURNED, {"status": "returned"})


def tell_failed(active: ActiveCall, error: Exception, *, will_retry: bool) -> None:
    """Tell that an attempt's failure is recorded."""
    facts: dict[str, object] = {
        "status": "failed",
        "error_type": type(error).__name__,
        "message": _FAILED,
        "data": {"will_retry": will_retry},
    }
    _tell_of(active, EventKind.CHECKPOINT_FAILED, facts)


def _tell_of(
    active: ActiveCall, kind: EventKind, facts: Mapping[str, object], moment: int | None = None
) -> None:
    sender = call_sender(active)
    _tell(sender.run, kind, sender.position, {**sender.about, **facts}, moment)


def tell_asked(call: Call, wait: WaitRecord) -> None:
    """Tell that a question is open; timers ask nobody."""
    if wait.kind is WaitKind.INPUT:
        data = {"wait": wait.wait_id, "question": wait.question}
        _tell_wait(call, EventKind.WAIT_ASKED, {"data": data})


def tell_wait_over(call: Call, wait: WaitRecord) -> None:
    """Tell that the flow has taken up what its question came to."""
    kind = _WAIT_KIND.get(wait.status)
    if wait.kind is WaitKind.INPUT and kind is not None:
        _tell_wait(call, kind, {"data": {"wait": wait.wait_id, "by": wait.resolved_by}})


def _json(payload: object) -> str:
    try:
        return msgspec.json.encode(payload).decode()
    except UnicodeEncodeError:
        # A question may have characters that UTF-8 cannot express; JSON can.
        return json.dumps(payload)


def _tell_wait(call: Call, kind: EventKind, facts: Mapping[str, object]) -> None:
    run = call.scope.run
    about = _about(call)
    # Not of the claim: who takes up the answer may be another runner than who asked.
    digest = _digest(f"{run.exec_id}\0{call.position}")
    about["correlation_id"] = f"kitaru.wait:{call.spec.name}:{digest}"
    _tell(run, kind, call.position, {**about, **facts})


def _tell(run: Run, kind: str, position: str, payload: object, moment: int | None = None) -> None:
    run.services.feed.tell(
        run.exec_id,
        EventRecord(
            kind=kind,
            position=position,
            payload=_json(payload),
            created_at=run.clock.now() if moment is None else moment,
        ),
    )
