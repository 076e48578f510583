"""From `.run()` to a durable execution: options, spec, the commit, and the start."""

from __future__ import annotations

import platform
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kitaru import settings
from kitaru._version import __version__
from kitaru.authoring.functions import check_cache, check_seconds
from kitaru.authoring.handle import FlowHandle
from kitaru.code_ref import import_root_of
from kitaru.engine.calls import Call, CheckpointSpec, kind_prefix
from kitaru.engine.context import current_call, current_scope
from kitaru.engine.protocol import settle
from kitaru.engine.run import Commit
from kitaru.errors import KitaruFeatureNotAvailableError, KitaruUsageError
from kitaru.faults import fault
from kitaru.ids import new_id
from kitaru.model import (
    CallKind,
    CallRecord,
    CallStatus,
    Committed,
    ExecutionStatus,
    NewExecution,
)
from kitaru.retry import NO_RETRY
from kitaru.worker.local import LocalRunner, local_runner, runner_of
from kitaru.worker.recovery import adopt

if TYPE_CHECKING:
    from kitaru.authoring.flow import Flow
    from kitaru.engine.scope import Scope

LOCAL_STACK = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of a run, as far as they have been given; None leaves one to what comes next."""

    stack: str | None = None
    image: object = None
    cache: bool | timedelta | None = None
    retries: int | None = None
    timeout: float | None = None
    idempotency_key: str | None = None
    tags: Sequence[str] | None = None

    def overridden_by(self, given: Mapping[str, object]) -> RunOptions:
        """Return these options with those taken out of `given` in their place.

        Args:
            given: Keywords of a call; options are removed from it if it can be changed.

        Raises:
            KitaruUsageError: An option has a value that it cannot have.
        """
        found: dict[str, Any] = {}
        for option in fields(self):
            value = given.get(option.name)
            if isinstance(given, MutableMapping):
                given.pop(option.name, None)
            if value is not None:
                found[option.name] = _checked(option.name, value)
        return replace(self, **found) if found else self


def _checked(option: str, value: object) -> object:
    match option:
        case "cache":
            return check_cache(value)
        case "timeout":
            return check_seconds("timeout", value)
        case "retries":
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                message = f"expected `retries` of a flow to be 0 or more, got: {value!r}"
                raise KitaruUsageError(message)
        case "stack":
            if value != LOCAL_STACK:
                message = f"unknown stack {value!r}. Installed: {LOCAL_STACK!r}."
                raise KitaruUsageError(message)
        case "image":
            message = "`image` is for stacks that run containers; the local stack runs flows in this process."
            raise KitaruFeatureNotAvailableError(message)
        case "idempotency_key":
            if not isinstance(value, str) or not value:
                message = f"expected `idempotency_key` to be a non-empty string, got: {value!r}"
                raise KitaruUsageError(message)
        case _:
            words = [value] if isinstance(value, str) else value
            if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):  # pyright: ignore[reportUnknownVariableType] - of anything
                message = f"expected `tags` to be a list of strings, got: {value!r}"
                raise KitaruUsageError(message)
            return tuple(words)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - strings
    return value


def submit_flow(
    flow: Flow[..., Any], arguments: Mapping[str, Any], options: RunOptions
) -> FlowHandle[Any]:
    """Create an execution, start it here unless it exists already, and return its handle."""
    scope = current_scope.get()
    if scope is None:
        runner = local_runner(settings.current())
        new = _new_execution(runner, flow, arguments, options)
        return _create_and_start(runner, flow, new)
    return _run_child(scope, flow, arguments, options)


def _new_execution(
    runner: LocalRunner, flow: Flow[..., Any], arguments: Mapping[str, Any], options: RunOptions
) -> NewExecution:
    values, present = runner.services.values, runner.settings
    inputs = values.keep(values.encode(dict(arguments), root="inputs"))
    retries = options.retries if options.retries is not None else present.retries or 0
    cache = options.cache if options.cache is not None else present.cache
    code = flow.code
    return NewExecution(
        id=new_id(),
        project=present.project,
        flow=flow.name,
        code_ref=str(flow.code_ref),
        code_root=import_root_of(flow.code_ref.module),
        code_hash=code.code_hash,
        inputs=inputs,
        stack=options.stack or present.stack,
        spec={
            "version": 1,
            "kitaru": __version__,
            "python": platform.python_version(),
            "stack": options.stack or present.stack,
            "image": None,
            "cache": cache.total_seconds() if isinstance(cache, timedelta) else bool(cache),
            "retries": retries,
            "timeout": options.timeout,
            "max_workers": present.max_workers,
            "model_registry": None,
        },
        tags=tuple(options.tags or ()),
        idempotency_key=options.idempotency_key,
        max_recoveries=flow.max_recoveries,
        retries_left=retries,
        created_at=runner.services.clock.now(),
        claim=runner.services.leases.claim(),
    )


def _create_and_start(
    runner: LocalRunner, flow: Flow[..., Any], new: NewExecution
) -> FlowHandle[Any]:
    trusted_until = runner.services.leases.trust_from_now()
    fault("execution.before_create")
    result = runner.services.writer.write(new)
    fault("execution.after_create")
    return _start(runner, flow, result, trusted_until)


def _start(
    runner: LocalRunner, flow: Flow[..., Any], result: Committed, trusted_until: float
) -> FlowHandle[Any]:
    execution = result.execution
    assert execution is not None  # noqa: S101 - a NewExecution that was held has a row
    if result.created and execution.status is ExecutionStatus.RUNNING:
        local = runner.start(execution, flow.code, trusted_until)
    elif execution.status.is_finished:
        local = None
    else:
        local = adopt(runner, execution)
    return FlowHandle(execution.id, runner, local)


def _run_child(
    scope: Scope, flow: Flow[..., Any], arguments: Mapping[str, Any], options: RunOptions
) -> FlowHandle[Any]:
    run = scope.run
    run.check()
    runner = runner_of(scope.run)
    call = current_call.get()
    if call is not None:
        # Inside a body, which is recorded as a whole: no row of its own, but the same child for
        # every attempt and every recovery.
        ordinal = call.children[flow.name] = call.children.get(flow.name, 0) + 1
        position = f"{call.call.position}>{flow.name}#{ordinal}"
        return _create_child(scope, flow, arguments, options, position=position, call=None)
    child_call = Call(
        spec=CheckpointSpec(
            name=flow.name,
            function=flow,
            is_async=False,
            retry=NO_RETRY,
            timeout=None,
            type="flow",
            cache=False,
            ignore=frozenset(),
            code_hash="",
        ),
        scope=scope,
        arguments=arguments,
        args=(),
        kwargs={},
        label=f"{kind_prefix(CallKind.CHILD)}{flow.name}",
        ordinal=scope.next_ordinal(f"{kind_prefix(CallKind.CHILD)}{flow.name}"),
        ordered=scope.ordered,
        upstreams=scope.upstreams(),
    )
    settle(child_call)
    try:
        record = child_call.match.record if child_call.match is not None else None
        if record is not None and record.output is not None:
            child = run.services.store.get_execution(run.services.values.load(record.output))
            local = None if child.status.is_finished else adopt(runner, child)
            return FlowHandle(child.id, runner, local)
        return _create_child(
            scope, flow, arguments, options, position=child_call.position, call=child_call
        )
    finally:
        scope.returned(child_call.position)


def _create_child(
    scope: Scope,
    flow: Flow[..., Any],
    arguments: Mapping[str, Any],
    options: RunOptions,
    *,
    position: str,
    call: Call | None,
) -> FlowHandle[Any]:
    run, runner = scope.run, runner_of(scope.run)
    new = _new_execution(runner, flow, arguments, options)
    new = replace(
        new,
        project=run.execution.project,
        parent_id=run.exec_id,
        parent_position=position,
        parent_epoch=run.epoch,
    )
    if call is not None:
        new = replace(new, parent_call=_child_record(call, new.id))
    # The child's arguments may rest on recorded values that no commit has carried yet.
    run.commit_buffered()
    trusted_until = runner.services.leases.trust_from_now()
    fault("child.before_create")
    result = runner.services.writer.write(new)
    fault("child.after_create")
    if result.execution is None:
        run.committed(result)
        run.check()
    return _start(runner, flow, result, trusted_until)


def _child_record(call: Call, child_id: str) -> CallRecord:
    run = call.scope.run
    values = run.services.values
    now = run.clock.now()
    return CallRecord(
        position=call.position,
        call_id=call.call_id,
        name=call.spec.name,
        kind=CallKind.CHILD,
        type=call.spec.type,
        fingerprint=call.fingerprint,
        ordered=call.ordered,
        status=CallStatus.COMPLETED,
        inputs=values.keep_arguments(call.inputs),
        output=values.keep(values.encode(child_id, root="child")),
        failure=None,
        upstreams=call.upstreams,
        cache_key=None,
        cached_from=None,
        epoch=run.epoch,
        started_at=now,
        ended_at=now,
    )
