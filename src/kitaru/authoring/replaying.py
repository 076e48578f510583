"""Starting a replay: which call is meant, what is overridden, and the new execution's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kitaru import schemas, settings
from kitaru.authoring.submission import create_and_start, new_execution
from kitaru.engine.context import current_scope
from kitaru.engine.reopen import led_to
from kitaru.engine.replay import ReplayPlan, selectable, selected_by
from kitaru.engine.runner import bind_inputs
from kitaru.errors import (
    KitaruContextError,
    KitaruFeatureNotAvailableError,
    KitaruStateError,
    KitaruUsageError,
    KitaruWaitValidationError,
)
from kitaru.model import CallKind, CallRecord, CallStatus, ExecutionStatus

if TYPE_CHECKING:
    from kitaru.authoring.flow import Flow
    from kitaru.authoring.handle import FlowHandle
    from kitaru.authoring.submission import RunOptions
    from kitaru.model import ExecutionRecord
    from kitaru.worker.local import LocalRunner

UserValue = Any

_SHOWN = 10  # candidates, in an error
_KINDS = {"checkpoint": CallKind.CHECKPOINT, "wait": CallKind.WAIT}


def start_replay(
    flow: Flow[..., Any],
    exec_id: str,
    *,
    from_: str | None,
    at: str | None,
    overrides: Mapping[str, UserValue] | None,
    code: str,
    options: RunOptions,
    flow_inputs: Mapping[str, UserValue],
) -> FlowHandle[Any]:
    """Create an execution that replays another one, start it here, and return its handle."""
    from kitaru.worker.runners import local_runner

    if current_scope.get() is not None:
        message = (
            "a replay is started outside flows: it is an execution of its own, without a parent."
        )
        raise KitaruContextError(message)
    _check_code(code)
    selector = _selector(from_, at)
    present = settings.current()
    runner = local_runner(present)
    origin = _origin(runner, exec_id)
    if origin.flow != flow.name:
        message = (
            f"execution {origin.id!r} is of flow {origin.flow!r}, not of {flow.name!r}. If the flow was"
            f" renamed, keep its name with `@flow(name={origin.flow!r})`."
        )
        raise KitaruStateError(message)
    calls = selectable(runner.store.list_calls(origin.id))
    selected = None if selector is None else _one(selector, calls, origin)
    meant = {key: _meant(key, calls, origin) for key in overrides or {}}
    _check_overrides(meant, selected)
    overridden = [
        _overridden(runner, origin, meant[key], key, value)
        for key, value in (overrides or {}).items()
    ]
    plan = ReplayPlan(
        from_position=None if selected is None else selected.position,
        overridden=tuple(record.position for record in overridden),
        failed=_failed(origin, calls),
        inputs=tuple(sorted(flow_inputs)),
    )
    arguments = _arguments(flow, runner, origin, flow_inputs)
    new = new_execution(runner, present, flow, arguments, options)
    new = replace(
        new,
        project=origin.project,
        origin_id=origin.id,
        replay_plan=plan.to_json(),
        calls=tuple(overridden),
    )
    return create_and_start(runner, flow, new)


def _check_code(code: str) -> None:
    if code == "recorded":
        message = (
            '`code="recorded"` replays with the code that an execution was deployed with, and this one'
            " was not deployed: there is no snapshot of its code. Leave it out to use the code as it is"
            " now, or check the old version out first."
        )
        raise KitaruFeatureNotAvailableError(message)
    if code != "current":
        message = f"expected `code` to be 'current' or 'recorded', got: {code!r}"
        raise KitaruUsageError(message)


def _selector(from_: str | None, at: str | None) -> str | None:
    if from_ is not None and at is not None:
        message = "`at` is another name for `from_`: give one of them."
        raise KitaruUsageError(message)
    selector = at if from_ is None else from_
    if selector is not None and (not isinstance(selector, str) or not selector):  # pyright: ignore[reportUnnecessaryIsInstance] - from user code
        message = (
            f"expected `from_` to be a checkpoint's name, position or call id, got: {selector!r}"
        )
        raise KitaruUsageError(message)
    return selector


def _origin(runner: LocalRunner, exec_id: str) -> ExecutionRecord:
    found = runner.store.find_execution_ids(exec_id, limit=2) if exec_id else []
    unique = found[0] if len(found) == 1 else exec_id
    origin = runner.store.get_execution(unique)
    if origin.status in {ExecutionStatus.PENDING, ExecutionStatus.RUNNING}:
        message = (
            f"execution {origin.id!r} is {origin.status.value}; only finished and waiting executions can"
            f" be replayed. Wait for it, or stop it with `kitaru executions cancel {origin.id}`."
        )
        raise KitaruStateError(message)
    return origin


def _one(
    selector: str, calls: Sequence[CallRecord], origin: ExecutionRecord, what: str = "call"
) -> CallRecord:
    """Return the one call that a selector means.

    Raises:
        KitaruStateError: None does, or several do; they are listed.
    """
    found = selected_by(selector, calls)
    if len(found) == 1:
        return found[0]
    if not found:
        names = dict.fromkeys(call.name for call in calls)
        has = f"It has {_list(list(names))}" if names else "It has none"
        message = (
            f"execution {origin.id!r} has no {what} {selector!r}. {has};"
            f" `kitaru executions get {origin.id}` shows what it did."
        )
        raise KitaruStateError(message)
    candidates = [f"{call.call_id} (position {call.position!r})" for call in found]
    message = (
        f"{selector!r} means {len(found)} calls of execution {origin.id!r}: {_list(candidates)}. Give a"
        f" call id that only one has, or its position."
    )
    raise KitaruStateError(message)


def _list(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"{', '.join(words[:_SHOWN])}{more}"


def _meant(key: str, calls: Sequence[CallRecord], origin: ExecutionRecord) -> CallRecord:
    """Return the call that a key of `overrides` means."""
    prefix, _, selector = key.partition(".")
    kind = _KINDS.get(prefix)
    if kind is None or not selector:
        message = (
            f"expected the keys of `overrides` to be 'checkpoint.<selector>' or 'wait.<name>',"
            f" got: {key!r}"
        )
        raise KitaruUsageError(message)
    return _one(selector, [call for call in calls if call.kind is kind], origin, prefix)


def _check_overrides(meant: Mapping[str, CallRecord], selected: CallRecord | None) -> None:
    """Refuse overrides that contradict each other or the selected call."""
    seen: dict[str, str] = {}
    for key, record in meant.items():
        other = seen.setdefault(record.position, key)
        if other != key:
            message = (
                f"{other!r} and {key!r} in `overrides` mean one call, {record.call_id!r} (position"
                f" {record.position!r}), which can have one value. Leave one of them out."
            )
            raise KitaruUsageError(message)
    if selected is not None and selected.position in seen:
        message = (
            f"{seen[selected.position]!r} in `overrides` means the call that `from_` selects,"
            f" {selected.call_id!r}, but an overridden call does not run. Leave `from_` out to put the"
            f" value in the call's place and run what follows from it, or leave the override out to run"
            f" the call itself."
        )
        raise KitaruUsageError(message)


def _overridden(
    runner: LocalRunner, origin: ExecutionRecord, record: CallRecord, key: str, value: UserValue
) -> CallRecord:
    """Return the row that gives a call of the replay its value."""
    if record.kind is CallKind.WAIT:
        value = _checked_answer(runner, origin, record, value)
    values = runner.services.values
    if record.kind is CallKind.CHECKPOINT and record.output is not None:
        # An override that was typed as JSON: what follows expects what the checkpoint returns.
        try:
            value = schemas.shaped_like(values.load(record.output), value)
        except KitaruUsageError as error:
            message = f"the override of {record.call_id!r} does not fit: {error.message}"
            raise KitaruUsageError(message) from error
    now = runner.services.clock.now()
    return replace(
        record,
        status=CallStatus.OVERRIDDEN,
        output=values.keep(values.encode(value, root=f"overrides[{key!r}]")),
        failure=None,
        cache_key=None,
        cached_from=f"{origin.id}/{record.position}",
        epoch=1,
        started_at=now,
        ended_at=now,
    )


def _checked_answer(
    runner: LocalRunner, origin: ExecutionRecord, record: CallRecord, value: UserValue
) -> UserValue:
    import msgspec

    answer = schemas.to_json(value)
    asked = runner.store.list_waits(origin.id, positions=[record.position])
    problems = schemas.find_problems(asked[0].schema, answer) if asked else []
    if problems:
        message = (
            f"the override of wait {record.call_id!r} is no answer to it: {schemas.listed(problems)}. It"
            f" asks for: {schemas.describe(asked[0].schema)}. Nothing was started."
        )
        raise KitaruWaitValidationError(message)
    return msgspec.json.decode(answer)


def _failed(origin: ExecutionRecord, calls: Sequence[CallRecord]) -> tuple[str, ...]:
    """Return the calls that led to the origin's failure: to replay them is what a replay of it is for."""
    if origin.status is not ExecutionStatus.FAILED:
        return ()
    suspects = led_to(origin.failure, calls)
    return tuple(
        call.position
        for call in suspects
        if call.failure is not None or call.kind is CallKind.CHILD
    )


def _arguments(
    flow: Flow[..., Any],
    runner: LocalRunner,
    origin: ExecutionRecord,
    flow_inputs: Mapping[str, UserValue],
) -> dict[str, UserValue]:
    """Return the origin's inputs with the given ones in their place.

    Raises:
        KitaruUsageError: The flow has no such parameter.
        KitaruDivergenceError: The recorded inputs do not fit the flow's signature any more.
    """
    import inspect

    values = runner.services.values
    parameters = flow.code.signature.parameters
    inputs: dict[str, UserValue] = dict(values.load(origin.inputs))
    rest = next(
        (p.name for p in parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD), None
    )
    plain = {
        name
        for name, parameter in parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    unknown = [name for name in flow_inputs if name not in plain]
    if unknown and rest is None:
        has = f"it has {_list(list(parameters))}" if parameters else "it has none"
        message = f"flow {flow.name!r} has no parameter {unknown[0]!r}; {has}."
        raise KitaruUsageError(message)
    inputs.update({name: value for name, value in flow_inputs.items() if name in plain})
    if rest is not None and unknown:
        inputs[rest] = {**inputs.get(rest, {}), **{name: flow_inputs[name] for name in unknown}}
    given = replace(origin, inputs=values.keep(values.encode(inputs, root="inputs")))
    return dict(bind_inputs(flow.code, given, values).arguments)
