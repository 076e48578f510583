"""Exceptions on their way into and out of the record."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kitaru import codec
from kitaru.errors import (
    FailureOrigin,
    KitaruBackendError,
    KitaruDivergenceError,
    KitaruError,
    KitaruExecutionError,
    KitaruSerializationError,
    KitaruTimeoutError,
    KitaruUserCodeError,
    RunnerSignal,
)
from kitaru.model import FailureRecord

if TYPE_CHECKING:
    from kitaru.model import ExecutionRecord

logger = logging.getLogger(__name__)

# A record is for reading; the exception object itself is kept beside it and may be larger.
_TEXT_LIMIT = 64 * 1024
# An exception of more than this is described, not kept: recovery then raises KitaruUserCodeError.
_EXCEPTION_LIMIT = 256 * 1024

_OWN_FOLDER = str(Path(__file__).parents[1])


def record_failure(error: BaseException, positions: tuple[str, ...] = ()) -> FailureRecord:
    """Return an exception in the form in which it is kept. Never fails."""
    codec_name, data = "", b""
    try:
        encoded = codec.encode_exception(error)
    except Exception:  # noqa: BLE001 - an exception's own state may be anything; its text is kept all the same
        logger.debug("exception of type %s cannot be kept", type(error).__qualname__)
    else:
        if len(encoded.data) <= _EXCEPTION_LIMIT:
            codec_name, data = encoded.codec, encoded.data
    return FailureRecord(
        exception_type=f"{type(error).__module__}.{type(error).__qualname__}",
        message=_text_of(error),
        traceback=_clean("".join(_format(error))),
        origin=origin_of(error),
        exception_codec=codec_name,
        exception=data,
        positions=positions,
    )


def origin_of(error: BaseException) -> FailureOrigin:
    """Tell from an exception's type who is to blame."""
    match error:
        case KitaruDivergenceError():
            return FailureOrigin.DIVERGENCE
        case KitaruBackendError():
            return FailureOrigin.BACKEND
        case KitaruExecutionError() | KitaruTimeoutError():
            return FailureOrigin.USER_CODE
        case KitaruSerializationError():
            return FailureOrigin.RUNTIME
        case _:
            return FailureOrigin.USER_CODE


def rebuild_exception(failure: FailureRecord, *, allow_pickle: bool) -> BaseException | None:
    """Return the recorded exception, or None where its class or state cannot be had here."""
    if not failure.exception_codec:
        return None
    try:
        return codec.decode_exception(
            codec.Encoded(failure.exception_codec, failure.exception), allow_pickle=allow_pickle
        )
    except KitaruError:
        return None


def raised_again(
    failure: FailureRecord, *, exec_id: str, call_id: str, allow_pickle: bool
) -> BaseException:
    """Return what recovery raises for a call that is recorded as failed."""
    error = rebuild_exception(failure, allow_pickle=allow_pickle)
    if error is not None:
        return error
    message = (
        f"checkpoint call {call_id!r} of execution {exec_id!r} is recorded as failed with"
        f" {failure.exception_type}: {failure.message}. The exception itself cannot be rebuilt here.\n"
        f"{failure.traceback}"
    )
    return KitaruUserCodeError(message, exec_id=exec_id, failure_origin=failure.origin)


def execution_error(execution: ExecutionRecord, *, allow_pickle: bool) -> KitaruExecutionError:
    """Return what waiting for an execution raises when it ended without a result."""
    exec_id, status = execution.id, execution.status.value
    failure = execution.failure
    if failure is None:
        told = execution.status_reason
        reason = f": {told}" if told and told != status else ""
        by = f" by {execution.cancel_requested_by}" if execution.cancel_requested_by else ""
        message = f"execution {exec_id!r} was {status}{by}{reason}."
        if status == "failed":
            message = f"execution {exec_id!r} failed{reason}."
        return KitaruExecutionError(message, exec_id=exec_id, status=status)
    cause = rebuild_exception(failure, allow_pickle=allow_pickle)
    summary = f"{failure.exception_type.rpartition('.')[2]}: {failure.message}".rstrip(": ")
    message = (
        f"execution {exec_id!r} of flow {execution.flow!r} failed with {summary}\n"
        f"{failure.traceback.rstrip()}\n"
        f"Retry it from its last recorded call with `kitaru executions retry {exec_id}`."
    )
    if isinstance(cause, KitaruExecutionError) and type(cause) is not KitaruUserCodeError:
        kind: type[KitaruExecutionError] = type(cause)
    else:
        kind = KitaruUserCodeError
    error = kind(message, exec_id=exec_id, status=status, failure_origin=failure.origin)
    error.__cause__ = cause
    return error


def inputs_error(
    execution: ExecutionRecord, gone: Sequence[str], missing: Sequence[str]
) -> KitaruDivergenceError:
    """Return the error for recorded inputs that do not fit the flow's parameters as they are now."""
    differing = [f"was started with {name!r}, which is no parameter any more" for name in gone]
    differing += [f"has no value for the parameter {name!r}" for name in missing]
    message = (
        f"execution {execution.id!r} of flow {execution.flow!r} does not fit the flow's signature:"
        f" it {' and '.join(differing)}. It stays as it is. Put the signature back, give new"
        f" parameters defaults, or start a new run."
    )
    return KitaruDivergenceError(
        message, exec_id=execution.id, failure_origin=FailureOrigin.DIVERGENCE
    )


def find_signal(error: BaseException) -> RunnerSignal | None:
    """Return the runner's signal that an exception is or, for a task group's, contains."""
    if isinstance(error, RunnerSignal):
        return error
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - of any member type
            if (signal := find_signal(member)) is not None:  # pyright: ignore[reportUnknownArgumentType] - as above
                return signal
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, its causes and contexts, and the members of groups among them."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting.extend((current.__cause__, current.__context__))
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - of any member type


def _format(error: BaseException) -> Iterable[str]:
    try:
        described = traceback.TracebackException.from_exception(error, compact=True)
        # What Kitaru raised on purpose is about a value or a call, and says so in its message; frames
        # of its own matter only where it fails unexpectedly.
        _leave_out_own_frames(described, even_all=isinstance(error, KitaruError))
        return list(described.format())
    except Exception:  # noqa: BLE001 - formatting calls the exception's own __str__
        return [f"{type(error).__qualname__} (its text cannot be had)\n"]


def _leave_out_own_frames(described: traceback.TracebackException, *, even_all: bool) -> None:
    """Keep the frames of the user's code; Kitaru's lie between them like packing."""
    users = [frame for frame in described.stack if not frame.filename.startswith(_OWN_FOLDER)]
    if users or even_all:
        described.stack = traceback.StackSummary.from_list(users)
    for other in (described.__cause__, described.__context__, *(described.exceptions or ())):
        if other is not None:
            _leave_out_own_frames(other, even_all=even_all)


def _text_of(error: BaseException) -> str:
    try:
        return _clean(str(error))
    except Exception:  # noqa: BLE001 - an exception's own __str__ may fail
        return ""


def _clean(text: str) -> str:
    # Lone surrogates cannot be stored as text.
    whole = text.encode(errors="backslashreplace").decode()
    return whole if len(whole) <= _TEXT_LIMIT else whole[:_TEXT_LIMIT] + "…"
