"""What running code tells those who watch: checked here, then queued by the engine's feed."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from kitaru.authoring.functions import check_text
from kitaru.engine.context import current_call, flow_scope
from kitaru.engine.telling import Sender, call_sender, flow_sender
from kitaru.errors import KitaruUsageError
from kitaru.model import EventKind, EventRecord

logger = logging.getLogger(__name__)

PAYLOAD_LIMIT = 64 * 1024
"""Characters of an event's payload as JSON: events are for watching, values belong in results."""

_RESERVED = frozenset({"cursor", "end", "error", "system", *EventKind})
_OURS = "kitaru."
_FLUSH_SECONDS = 2.0
_DEEPEST = 20
_REPR_LIMIT = 1_000

# Held from the first warning on: a loop would repeat it thousands of times.
_warned = threading.Lock()


def progress(
    message: str,
    *,
    percent: float | None = None,
    correlation_id: str | None = None,
    flush: bool = False,
    **fields: Any,
) -> None:
    """Tell those who watch how far the work here has come.

    Args:
        message: What to show.
        percent: How much is done, from 0 to 1. Anything else is left out, with a warning in the log.
        correlation_id: What this belongs to; if not given, the running attempt of the call.
        flush: Wait, at most 2 seconds, until it can be read.
        **fields: More facts; what JSON does not have is told by its `repr`.

    Durability: none. A crash may lose what was told in the last 100 ms; nothing in a run depends on it.

    Raises:
        KitaruContextError: Outside a flow.
        KitaruUsageError: An argument is not acceptable.
    """
    check_text("`message`", message)
    facts: dict[str, Any] = dict(fields)
    if percent is not None:
        if _is_fraction(percent):
            facts["percent"] = percent
        else:
            _warn_of_percent(percent)
    told = _Told(EventKind.CHECKPOINT_PROGRESS, message, facts, correlation_id, None)
    _tell("`kitaru.progress()`", told, flush=flush)


def publish(
    kind: str,
    payload: Mapping[str, Any] | None = None,
    *,
    message: str | None = None,
    correlation_id: str | None = None,
    index: int | None = None,
    flush: bool = False,
) -> None:
    """Tell those who watch that something has happened here.

    Args:
        kind: A word of yours, such as `search.hit`.
        payload: Facts; what JSON does not have is told by its `repr`.
        message: What to show.
        correlation_id: What this belongs to; if not given, the running attempt of the call.
        index: Its number among what this attempt tells; the next free one if not given.
        flush: Wait, at most 2 seconds, until it can be read.

    Durability: none, as for `kitaru.progress`.

    Raises:
        KitaruContextError: Outside a flow.
        KitaruUsageError: An argument is not acceptable.
    """
    _check_kind(kind)
    if message is not None:
        check_text("`message`", message)
    if payload is not None and not isinstance(payload, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - users' types are not checked
        message = f"expected `payload` to be a mapping, got: {type(payload).__name__}"
        raise KitaruUsageError(message)
    if index is not None and (not isinstance(index, int) or isinstance(index, bool) or index < 0):  # pyright: ignore[reportUnnecessaryIsInstance] - see above
        message = f"expected `index` to be a number from 0, got: {index!r}"
        raise KitaruUsageError(message)
    told = _Told(kind, message, payload, correlation_id, index)
    _tell("`kitaru.events.publish()`", told, flush=flush)


def _check_kind(kind: str) -> None:
    check_text("`kind`", kind)
    if "\n" in kind or "\r" in kind:
        message = f"expected `kind` to be one line, got: {kind!r}"
        raise KitaruUsageError(message)
    if kind in _RESERVED or kind.startswith(_OURS):
        message = f"event kind {kind!r} is reserved. Use a word of your own, such as 'search.hit'."
        raise KitaruUsageError(message)


def _is_fraction(percent: object) -> bool:
    # NaN is not between anything.
    return isinstance(percent, int | float) and not isinstance(percent, bool) and 0 <= percent <= 1


def _warn_of_percent(percent: object) -> None:
    """Say once per process that a number was left out: no run fails for what it shows."""
    if _warned.acquire(blocking=False):
        logger.warning(
            "`percent=%s` was left out of an event of `kitaru.progress()`: it goes from 0 to 1, so 20%% is"
            " 0.2. This is said once per process.",
            _repr(percent),
        )


@dataclass(frozen=True, slots=True)
class _Told:
    kind: str
    message: str | None
    facts: Mapping[str, Any] | None
    correlation_id: str | None
    index: int | None


def _sender(what: str) -> Sender:
    active = current_call.get()
    if active is not None:
        active.check()
        return call_sender(active)
    run = flow_scope(what).run
    run.check()
    return flow_sender(run)


def _tell(what: str, told: _Told, *, flush: bool) -> None:
    if told.correlation_id is not None:
        check_text("`correlation_id`", told.correlation_id)
    sender = _sender(what)
    run = sender.run
    feed = run.services.feed
    record = dict(sender.about)
    if told.correlation_id is not None:
        record["correlation_id"] = told.correlation_id
    if told.message is not None:
        record["message"] = told.message
    if told.facts:
        record["data"] = as_json(told.facts)
    index = feed.next_index(run.exec_id, sender.correlation_id, told.index)
    if index is None:
        message = f"`index={told.index}` is below what has been told here already. Leave it out to count on."
        raise KitaruUsageError(message)
    record["index"] = index
    payload = json.dumps(record, separators=(",", ":"))
    if len(payload) > PAYLOAD_LIMIT:
        raise _too_large()
    event = EventRecord(
        kind=told.kind, position=sender.position, payload=payload, created_at=run.clock.now()
    )
    feed.tell(run.exec_id, event)
    if flush:
        feed.flush(_FLUSH_SECONDS)


def _too_large() -> KitaruUsageError:
    return KitaruUsageError(
        f"an event may have up to {PAYLOAD_LIMIT // 1024} KiB of JSON, this one has more."
        " Keep large values with `kitaru.save()`, and tell their names."
    )


def as_json(value: object) -> object:
    """Return a copy of a value made of what JSON has.

    NaN and infinities become null, other objects their `repr`, cut short; so does what lies too deep.

    Raises:
        KitaruUsageError: It is too large for an event, which is noticed before all of it is copied.
    """
    return _Copy().of(value, 0)


class _Copy:
    def __init__(self) -> None:
        self._left = PAYLOAD_LIMIT

    def of(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return self._spend(value, 1)
        if isinstance(value, str):
            return self._spend(str(value), len(value))
        if isinstance(value, float):
            return self._spend(float(value) if math.isfinite(value) else None, 1)
        if isinstance(value, int) and abs(value) < 10**_REPR_LIMIT:
            return self._spend(int(value), 1)
        if isinstance(value, Mapping) and depth < _DEEPEST:
            entries = cast("Mapping[object, object]", value).items()
            return {self._key(key): self.of(part, depth + 1) for key, part in entries}
        if isinstance(value, list | tuple) and depth < _DEEPEST:
            return [self.of(part, depth + 1) for part in cast("list[object]", value)]
        text = _repr(cast("object", value))
        return self._spend(text, len(text))

    def _key(self, key: object) -> str:
        text = str(key) if isinstance(key, str) else _repr(key)
        self._spend(None, len(text))
        return text

    def _spend(self, part: object, size: int) -> object:
        self._left -= size
        if self._left < 0:
            raise _too_large()
        return part


def _repr(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - user code may raise anything; watching must not fail for it
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= _REPR_LIMIT else f"{text[: _REPR_LIMIT - 1]}…"
