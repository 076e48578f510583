"""`save` and `load`: values under a name, kept with the call that made them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kitaru import settings
from kitaru.authoring.functions import check_choice, check_text
from kitaru.engine.context import active_call, current_call, current_scope
from kitaru.engine.values import Values
from kitaru.errors import KitaruNotFoundError, KitaruStateError
from kitaru.ids import new_id
from kitaru.model import ArtifactRecord, CallKind, StoredValue
from kitaru.store.contract import Store

UserValue = Any

ARTIFACT_TYPES = ("prompt", "response", "context", "input", "output", "blob")


def save(
    name: str,
    value: UserValue,
    *,
    type: str = "output",  # noqa: A002 - the public name
    tags: Sequence[str] | None = None,
) -> None:
    """Keep a value under a name, from inside a checkpoint.

    Durability: written in the same commit as the checkpoint's outcome. What a failed attempt saved is
    kept too, and marked.

    Args:
        name: Need not be unique.
        value: Anything that a checkpoint could return.
        type: What it is: prompt, response, context, input, output or blob.
        tags: Free words.

    Raises:
        KitaruContextError: Not inside a checkpoint.
        KitaruSerializationError: The value cannot be kept; the part is named.
    """
    active = active_call("`kitaru.save()`")
    active.check()
    check_text("the artifact's name", name)
    for tag in tags or ():
        check_text("each of `tags`", tag)
    check_choice("type", type, ARTIFACT_TYPES)
    run = active.call.scope.run
    values = run.services.values
    active.artifacts.append(
        ArtifactRecord(
            id=new_id(),
            position=active.call.position,
            attempt=active.attempt,
            name=name,
            kind=type,
            tags=tuple(tags or ()),
            value=values.keep(values.encode(value, root=name)),
            attempt_failed=False,
            created_at=run.clock.now(),
        )
    )


def load(exec_id: str, name: str) -> UserValue:
    """Return a value of any execution: a checkpoint's result, or an artifact saved under a name.

    Args:
        exec_id: The execution, in full.
        name: A saved artifact's name, a call's id, or the name of a checkpoint called once.

    Raises:
        KitaruNotFoundError: There is no such execution, or nothing by that name in it.
        KitaruStateError: Several things have the name; they are listed.
    """
    store, values = _storage()
    store.get_execution(exec_id)
    candidates = _saved(store, exec_id, name) or _outputs(store, exec_id, name)
    if not candidates:
        message = (
            f"execution {exec_id!r} has no artifact and no checkpoint result named {name!r}."
            f" `kitaru executions get {exec_id}` lists what it has."
        )
        raise KitaruNotFoundError(message)
    if len(candidates) > 1:
        listed = ", ".join(label for label, _ in candidates)
        message = (
            f"execution {exec_id!r} has several values named {name!r}: {listed}. Name one of those."
        )
        raise KitaruStateError(message)
    return values.load(candidates[0][1])


def _storage() -> tuple[Store, Values]:
    scope = current_scope.get()
    call = current_call.get()
    if call is not None:
        scope = call.call.scope
    if scope is not None:
        scope.run.check()
        return scope.run.services.store, scope.run.services.values
    from kitaru.worker.runners import local_runner

    services = local_runner(settings.current()).services
    return services.store, services.values


def _saved(store: Store, exec_id: str, name: str) -> list[tuple[str, StoredValue]]:
    call_ids = {call.position: call.call_id for call in store.list_calls(exec_id)}
    found = [artifact for artifact in store.list_artifacts(exec_id) if artifact.name == name]
    # A failed attempt's leavings count only where nothing else has the name.
    kept = [artifact for artifact in found if not artifact.attempt_failed] or found
    return [
        (f"{name!r} of call {call_ids.get(artifact.position, artifact.position)!r}", artifact.value)
        for artifact in kept
    ]


def _outputs(store: Store, exec_id: str, name: str) -> list[tuple[str, StoredValue]]:
    calls = [
        call
        for call in store.list_calls(exec_id)
        if call.kind is CallKind.CHECKPOINT and call.output is not None
    ]
    exact = [call for call in calls if call.call_id == name]
    same_name = [call for call in calls if call.name == name]
    # `fetch` is both the first call's id and the checkpoint's name: with several calls it is ambiguous.
    chosen = same_name if len(same_name) > 1 and exact == same_name[:1] else exact or same_name
    return [(repr(call.call_id), call.output) for call in chosen if call.output is not None]
