"""From `.run()` to a durable execution: options, spec, the commit, and the start."""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kitaru import settings
from kitaru._version import __version__
from kitaru.authoring.functions import check_cache, check_seconds, check_text, is_whole_number
from kitaru.authoring.handle import FlowHandle
from kitaru.code_ref import script_being_loaded
from kitaru.engine.calls import Call, CheckpointSpec, kind_prefix
from kitaru.engine.context import current_call, current_scope
from kitaru.engine.protocol import settle
from kitaru.engine.reopen import retry_failed
from kitaru.errors import KitaruFeatureNotAvailableError, KitaruStateError, KitaruUsageError
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
from kitaru.settings_rules import check_stack

if TYPE_CHECKING:
    from kitaru.authoring.flow import Flow
    from kitaru.engine.run import Run
    from kitaru.engine.scope import Scope
    from kitaru.worker.local import LocalRunner


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

    def overridden_by(self, given: dict[str, Any]) -> RunOptions:
        """Return these options with those taken out of `given` in their place.

        Args:
            given: Keywords of a call; options are removed from it.

        Raises:
            KitaruUsageError: An option has a value that it cannot have.
        """
        taken = {name: given.pop(name) for name in _CHECKS.keys() & given.keys()}
        found: dict[str, Any] = {
            name: _CHECKS[name](value) for name, value in taken.items() if value is not None
        }
        return replace(self, **found) if found else self


def _check_retries(value: object) -> object:
    if not is_whole_number(value, at_least=0):
        message = f"expected `retries` of a flow to be 0 or more, got: {value!r}"
        raise KitaruUsageError(message)
    return value


def _check_image(_: object) -> object:
    message = (
        "`image` is for stacks that run containers; the local stack runs flows in this process."
    )
    raise KitaruFeatureNotAvailableError(message)


def _check_tags(value: object) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if isinstance(words, Sequence):
        tags = tuple(word for word in cast("Sequence[object]", words) if isinstance(word, str))
        if len(tags) == len(cast("Sequence[object]", words)):
            return tuple(check_text("each of `tags`", tag) for tag in tags)
    message = f"expected `tags` to be a list of strings, got: {value!r}"
    raise KitaruUsageError(message)


_CHECKS: Mapping[str, Callable[[object], object]] = {
    "stack": check_stack,
    "image": _check_image,
    "cache": check_cache,
    "retries": _check_retries,
    "timeout": functools.partial(check_seconds, "timeout"),
    "idempotency_key": functools.partial(check_text, "`idempotency_key`"),
    "tags": _check_tags,
}


def submit_flow(
    flow: Flow[..., Any], arguments: Mapping[str, Any], options: RunOptions
) -> FlowHandle[Any]:
    """Create an execution, start it here unless it exists already, and return its handle."""
    from kitaru.worker.runners import local_runner

    scope = current_scope.get()
    if scope is None:
        _refuse_while_loading(flow)
        present = settings.current()
        runner = local_runner(present)
        new = new_execution(runner, present, flow, arguments, options)
        return create_and_start(runner, flow, new)
    return _run_child(scope, flow, arguments, options)


def _refuse_while_loading(flow: Flow[..., Any]) -> None:
    file = script_being_loaded()
    if file is not None:
        message = (
            f"flow {flow.name!r} is started while {file.name!r} is loaded for its definitions, which is done"
            f' whenever one of its executions is continued. Start it below `if __name__ == "__main__":`.'
        )
        raise KitaruUsageError(message)


def new_execution(
    runner: LocalRunner,
    present: settings.Settings,
    flow: Flow[..., Any],
    arguments: Mapping[str, Any],
    options: RunOptions,
) -> NewExecution:
    """Return what creates an execution of a flow, claimed for this process."""
    values = runner.services.values
    inputs = values.keep(values.encode(dict(arguments), root="inputs"))
    retries = options.retries if options.retries is not None else present.retries or 0
    cache = options.cache if options.cache is not None else present.cache
    code = flow.code
    return NewExecution(
        id=new_id(),
        project=present.project,
        flow=flow.name,
        code_ref=str(flow.code_ref),
        code_root=flow.code_root,
        code_hash=code.code_hash,
        inputs=inputs,
        stack=options.stack or present.stack,
        spec={
            "version": 1,
            "kitaru": __version__,
            "python": platform.python_version(),
            # For whoever goes on with it in a process of its own.
            "executable": sys.executable,
            "folder": _folder(),
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


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # removed under us
        return None


def submit_detached(
    flow: Flow[..., Any], arguments: Mapping[str, Any], options: Mapping[str, Any]
) -> Committed:
    """Create an execution that is left to whoever takes it up, and return what became of that.

    If there is one with the same idempotency key, that one is returned.

    Durability: one commit.
    """
    from kitaru.worker.runners import local_runner

    present = settings.current()
    runner = local_runner(present)
    taken = flow.options.overridden_by(dict(options))
    bound = flow.binder.bind((), dict(arguments))
    new = replace(new_execution(runner, present, flow, bound, taken), claim=None)
    fault("execution.before_create")
    result = runner.services.writer.write(new)
    fault("execution.after_create")
    return result


def create_and_start(
    runner: LocalRunner, flow: Flow[..., Any], new: NewExecution
) -> FlowHandle[Any]:
    """Create an execution, start it here, and return its handle.

    Durability: one commit.
    """
    trusted_until = runner.services.leases.trust_from_now()
    fault("execution.before_create")
    result = runner.services.writer.write(new)
    fault("execution.after_create")
    return _start(runner, flow, result, trusted_until)


def _start(
    runner: LocalRunner,
    flow: Flow[..., Any],
    result: Committed,
    trusted_until: float,
    *,
    parent: tuple[Run, str] | None = None,
    retries_failed: bool = False,
) -> FlowHandle[Any]:
    from kitaru.worker.recovery import adopt

    execution = result.execution
    assert execution is not None  # noqa: S101 - a NewExecution that was held has a row
    if retries_failed and execution.status is ExecutionStatus.FAILED:
        try:
            execution = retry_failed(runner.services, execution.id)
        except KitaruStateError:  # someone else was faster
            execution = runner.store.get_execution(execution.id)
    if result.created and execution.status is ExecutionStatus.RUNNING:
        local = runner.start(execution, flow.code, trusted_until)
    elif execution.status.is_finished:
        local = None
    else:
        local = adopt(runner, execution)
    return FlowHandle(execution.id, runner, local, parent=parent)


def _run_child(
    scope: Scope, flow: Flow[..., Any], arguments: Mapping[str, Any], options: RunOptions
) -> FlowHandle[Any]:
    from kitaru.worker.recovery import adopt
    from kitaru.worker.runners import runner_of

    run = scope.run
    run.check()
    runner = runner_of(scope.run)
    call = current_call.get()
    if call is not None:
        # Inside a body, which is recorded as a whole: no row of its own, but the same child for
        # every attempt and every recovery.
        ordinal = call.children[flow.name] = call.children.get(flow.name, 0) + 1
        position = f"{call.call.position}>{flow.name}#{ordinal}"
        return _create_child(
            scope,
            flow,
            arguments,
            options,
            position=position,
            call=None,
            retries_failed=call.attempt > 1,
        )
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
        kind=CallKind.CHILD,
        label=f"{kind_prefix(CallKind.CHILD)}{flow.name}",
        ordinal=scope.next_ordinal(f"{kind_prefix(CallKind.CHILD)}{flow.name}"),
        ordered=scope.ordered,
        placed=scope.placed,
        upstreams=scope.upstreams(),
    )
    settle(child_call)
    try:
        record = child_call.match.record if child_call.match is not None else None
        if record is not None and record.output is not None:
            child = run.services.store.get_execution(run.services.values.load(record.output))
            local = None if child.status.is_finished else adopt(runner, child)
            return FlowHandle(child.id, runner, local, parent=(run, record.position))
        return _create_child(
            scope, flow, arguments, options, position=child_call.position, call=child_call
        )
    finally:
        scope.returned(child_call.position, child_call.upstreams)


def _create_child(
    scope: Scope,
    flow: Flow[..., Any],
    arguments: Mapping[str, Any],
    options: RunOptions,
    *,
    position: str,
    call: Call | None,
    retries_failed: bool = False,
) -> FlowHandle[Any]:
    from kitaru.worker.runners import runner_of

    run, runner = scope.run, runner_of(scope.run)
    new = new_execution(runner, settings.current(), flow, arguments, options)
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
    run.recorder.commit_buffered()
    trusted_until = runner.services.leases.trust_from_now()
    fault("child.before_create", call)
    result = runner.services.writer.write(new)
    fault("child.after_create", call)
    if result.execution is None:
        run.committed(result)
        run.check()
    parent = (run, position) if call is not None else None
    return _start(runner, flow, result, trusted_until, parent=parent, retries_failed=retries_failed)


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
