"""What code inside a run can ask and tell: where it is, and what people should know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

from kitaru.authoring.functions import check_text
from kitaru.engine.calls import ActiveCall
from kitaru.engine.context import current_call as _current_call
from kitaru.engine.context import current_scope, flow_scope
from kitaru.errors import KitaruUsageError
from kitaru.model import MetadataRecord

_KEY_BYTES = 16


class CallContext:
    """The checkpoint call whose body is running."""

    __slots__ = ("_active",)

    def __init__(self, active: ActiveCall) -> None:
        self._active = active

    @property
    def call_id(self) -> str:
        """What people read and type to name the call: `name`, `name-2`, or the `id=` given."""
        return self._active.call.call_id

    @property
    def name(self) -> str:
        """The checkpoint's name."""
        return self._active.name

    @property
    def attempt(self) -> int:
        """Which try of the body this is, from 1."""
        return self._active.attempt

    @property
    def idempotency_key(self) -> str:
        """A key for outside services: the same in every attempt and every recovery of this call.

        32 hexadecimal digits; different for every call and every execution.
        """
        call = self._active.call
        text = f"{call.scope.run.exec_id}\0{call.position}"
        return blake2b(text.encode(errors="replace"), digest_size=_KEY_BYTES).hexdigest()

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What this attempt has logged with `kitaru.log()` so far."""
        return {key: json.loads(record.value) for key, record in self._active.metadata.items()}

    def __repr__(self) -> str:
        return f"<call {self.call_id!r}, attempt {self.attempt}>"


def current_execution_id() -> str | None:
    """Return the id of the execution that this code runs in, or None outside flows."""
    scope = current_scope.get()
    return None if scope is None else scope.run.exec_id


def current_call() -> CallContext | None:
    """Return the checkpoint call that this code runs in, or None outside checkpoints.

    Raises:
        KitaruTimeoutError: The attempt has run out of time.
    """
    active = _current_call.get()
    if active is None:
        return None
    active.check()
    return CallContext(active)


def log(**values: Any) -> None:
    """Attach values to the current checkpoint call or, at flow scope, to the execution.

    The same key again replaces the value; two mappings are merged.

    Durability: written with the next commit of that scope, never with one of its own.

    Raises:
        KitaruContextError: Outside a flow.
        KitaruUsageError: A value is not JSON-like; it is named.
    """
    active = _current_call.get()
    if active is not None:
        active.check()
        position, existing = active.call.position, active.metadata
        existing.update(_merged(position, values, existing))
        return
    run = flow_scope("`kitaru.log()`").run
    run.check()
    run.recorder.update_metadata(lambda existing: _merged("", values, existing))


def _merged(
    position: str, values: Mapping[str, Any], existing: Mapping[str, MetadataRecord]
) -> dict[str, MetadataRecord]:
    merged: dict[str, MetadataRecord] = {}
    for key, value in values.items():
        check_text("each name given to `kitaru.log()`", key)
        text = _json(key, value)
        before = existing.get(key)
        if isinstance(value, Mapping) and before is not None:
            former = json.loads(before.value)
            if isinstance(former, dict):
                text = json.dumps({**former, **json.loads(text)})
        merged[key] = MetadataRecord(position=position, key=key, value=text)
    return merged


def _json(key: str, value: object) -> str:
    plain = dict(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else value
    try:
        return json.dumps(plain)
    except (TypeError, ValueError, RecursionError) as error:
        message = (
            f"`kitaru.log({key}=...)` takes JSON-like values, got {type(plain).__name__}: {error}."
            f" Use `kitaru.save()` for other values."
        )
        raise KitaruUsageError(message) from error
