"""Time and chance that come out the same when the flow runs again."""

from __future__ import annotations

import random as _random
import uuid as _uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from kitaru.clock import SYSTEM_CLOCK, to_datetime
from kitaru.engine.calls import fingerprint_of, kind_prefix
from kitaru.engine.context import current_call, current_scope
from kitaru.model import CallKind, CallRecord, CallStatus

T = TypeVar("T")


def now() -> datetime:
    """Return the present moment, in UTC; in a flow, the same one on every recovery.

    Inside a checkpoint's body, whose result is recorded as a whole, and outside flows it is the
    machine's clock.
    """
    return _recorded("now", _present)


def _present() -> datetime:
    scope = current_scope.get()
    return to_datetime((SYSTEM_CLOCK if scope is None else scope.run.clock).now())


def random() -> float:
    """Return a random number from 0 up to 1; in a flow, the same one on every recovery."""
    return _recorded("random", _random.random)


def uuid4() -> _uuid.UUID:
    """Return a random UUID; in a flow, the same one on every recovery."""
    return _recorded("uuid4", _uuid.uuid4)


def _recorded(name: str, make: Callable[[], T]) -> T:
    """Return the recorded value at this place of the flow, or make and record one.

    Durability: the value is written with the execution's next commit. A crash before that forgets it,
    and nothing that could depend on it has been recorded then.
    """
    scope = current_scope.get()
    if scope is None or current_call.get() is not None:
        return make()
    run = scope.run
    run.check()
    full_name = f"{kind_prefix(CallKind.VALUE)}{name}"
    fingerprint = fingerprint_of(full_name, b"")
    prefix = f"{scope.path}/" if scope.path else ""
    ordinal = scope.next_ordinal(full_name)
    match = run.journal.match(
        prefix,
        full_name,
        ordinal,
        fingerprint,
        ordered=scope.ordered,
        kind=CallKind.VALUE,
        anonymous=True,
    )
    values = run.services.values
    if match.record is not None and match.record.output is not None:
        recorded: Any = values.load(match.record.output)
        return recorded
    if run.replay is not None:
        found = run.replay.look_up(
            run.epoch,
            match.position,
            prefix=prefix,
            name=full_name,
            ordinal=ordinal,
            fingerprint=fingerprint,
            ordered=scope.ordered,
            kind=CallKind.VALUE,
            anonymous=True,
        )
        if found.record is not None and found.record.output is not None:
            run.recorder.keep_value(replace(found.record, call_id=match.position))
            taken: Any = values.load(found.record.output)
            return taken
    value = make()
    moment = run.clock.now()
    run.recorder.keep_value(
        CallRecord(
            position=match.position,
            call_id=match.position,
            name=full_name,
            kind=CallKind.VALUE,
            type=None,
            fingerprint=fingerprint,
            ordered=scope.ordered,
            status=CallStatus.COMPLETED,
            inputs=None,
            output=values.keep(values.encode(value, root=name)),
            failure=None,
            upstreams=(),
            cache_key=None,
            cached_from=None,
            epoch=run.epoch,
            started_at=moment,
            ended_at=moment,
        )
    )
    return value
