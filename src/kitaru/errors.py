"""The exceptions that Kitaru raises, and the control-flow signals of its runner.

    KitaruError
    ├─ KitaruUsageError (ValueError)            a bad call: wrong argument, wrong value, wrong configuration
    │   ├─ KitaruWaitValidationError            an answer does not fit the wait's schema
    │   ├─ KitaruSerializationError             a value that cannot be kept, or kept bytes that cannot be read
    │   ├─ KitaruStackIntegrationDependencyError
    │   └─ KitaruDeploymentInputValuesError
    ├─ KitaruContextError (RuntimeError)        used in the wrong place
    ├─ KitaruStateError (RuntimeError)          not allowed in the present state; ambiguous selection
    ├─ KitaruNotFoundError (LookupError)
    ├─ KitaruTimeoutError (TimeoutError)
    ├─ KitaruRuntimeError (RuntimeError)
    │   ├─ KitaruBackendError                   the store, the disk or the network failed
    │   │   ├─ KitaruLogRetrievalError
    │   │   └─ KitaruAuthError
    │   └─ KitaruExecutionError                 an execution ended badly
    │       ├─ KitaruUserCodeError
    │       ├─ KitaruDivergenceError
    │       ├─ KitaruWaitAbortedError
    │       ├─ KitaruWaitExpiredError
    │       └─ KitaruBudgetExceededError
    └─ KitaruFeatureNotAvailableError (NotImplementedError)

    RunnerSignal (BaseException)                never meant for user code, hence no `Exception`
    ├─ Suspend
    ├─ LeaseLost
    └─ CancelRequested

Every class has a stable `code` that travels over HTTP and in JSON; nothing decides by an error's text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self


class FailureOrigin(StrEnum):
    """Who is to blame for a failure, decided by the exception's type."""

    USER_CODE = "user_code"
    RUNTIME = "runtime"
    BACKEND = "backend"
    DIVERGENCE = "divergence"
    UNKNOWN = "unknown"


class KitaruError(Exception):
    """Base of every error that Kitaru raises on purpose.

    Attributes:
        code: Stable, lower-case name of the kind of error.
        message: What happened to which thing, why, and what to do.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        # The default rebuilds an exception by calling its class with `args`, which fails for
        # every class whose parameters are not the message alone.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))

    @classmethod
    def _blank(cls) -> Self:
        return cls.__new__(cls)


def _rebuild(
    cls: type[KitaruError], args: tuple[object, ...], state: dict[str, object]
) -> KitaruError:
    error = cls._blank()  # pyright: ignore[reportPrivateUsage] - the other half of __reduce__
    error.args = args
    error.__dict__.update(state)
    return error


class KitaruUsageError(KitaruError, ValueError):
    """An argument, a value or a setting is not acceptable."""

    code = "usage"


class KitaruWaitValidationError(KitaruUsageError):
    """An answer does not fit the schema of the wait that it was given to; the wait stays open."""

    code = "wait_validation"


class KitaruSerializationError(KitaruUsageError):
    """A value cannot be kept exactly, or kept bytes cannot be read back.

    Attributes:
        path: Where in the value the trouble is, such as `result["client"].session`; empty if
            the value as a whole is meant.
    """

    code = "serialization"

    def __init__(self, message: str = "", *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class KitaruStackIntegrationDependencyError(KitaruUsageError):
    """A stack needs a package that is not installed here."""

    code = "stack_dependency"


class KitaruDeploymentInputValuesError(KitaruUsageError):
    """A deployment needs values for inputs that have no default."""

    code = "deployment_inputs"


class KitaruContextError(KitaruError, RuntimeError):
    """Something was used in the wrong place: outside a flow, or inside a checkpoint."""

    code = "context"


class KitaruStateError(KitaruError, RuntimeError):
    """The present state does not allow this, or a selector matches several things."""

    code = "state"


class KitaruNotFoundError(KitaruError, LookupError):
    """Nothing goes by that name or id."""

    code = "not_found"


class KitaruTimeoutError(KitaruError, TimeoutError):
    """Something took longer than it was allowed to; what it was doing is left alone.

    Attributes:
        exec_id: The execution concerned.
        timeout_seconds: The limit.
        elapsed_seconds: How long it had taken when the limit was noticed.
        last_status: The execution's status then, if a caller was waiting for it.
        call_id: The checkpoint call whose attempt ran out of time, if it was one.
    """

    code = "timeout"

    def __init__(
        self,
        exec_id: str,
        timeout_seconds: float,
        elapsed_seconds: float,
        last_status: str | None = None,
        *,
        call_id: str | None = None,
    ) -> None:
        self.exec_id = exec_id
        self.timeout_seconds = timeout_seconds
        self.elapsed_seconds = elapsed_seconds
        self.last_status = last_status
        self.call_id = call_id
        if call_id is not None:
            message = (
                f"checkpoint call {call_id!r} of execution {exec_id!r} ran for {elapsed_seconds:.3g} s,"
                f" longer than its timeout of {timeout_seconds:g} s."
            )
        elif last_status is None:
            message = (
                f"execution {exec_id!r} ran for {elapsed_seconds:.3g} s, longer than its flow's timeout"
                f" of {timeout_seconds:g} s."
            )
        else:
            message = (
                f"execution {exec_id!r} was still {last_status} after {elapsed_seconds:.3g} s"
                f" (timeout {timeout_seconds:g} s). It goes on; `wait()` again, or look at it with"
                f" `kitaru executions get {exec_id}`."
            )
        super().__init__(message)


class KitaruRuntimeError(KitaruError, RuntimeError):
    """Kitaru itself could not do what it was asked to."""

    code = "runtime"


class KitaruBackendError(KitaruRuntimeError):
    """The store, the disk or the network failed."""

    code = "backend"


class KitaruLogRetrievalError(KitaruBackendError):
    """Logs could not be read from where they are kept."""

    code = "log_retrieval"


class KitaruAuthError(KitaruBackendError):
    """The server did not accept the credentials."""

    code = "auth"


class KitaruExecutionError(KitaruRuntimeError):
    """An execution ended without a result.

    Attributes:
        exec_id: The execution.
        status: Its status, such as `failed` or `cancelled`.
        failure_origin: Who is to blame.
    """

    code = "execution"

    def __init__(
        self,
        message: str,
        *,
        exec_id: str | None = None,
        status: str | None = None,
        failure_origin: FailureOrigin = FailureOrigin.UNKNOWN,
    ) -> None:
        super().__init__(message)
        self.exec_id = exec_id
        self.status = status
        self.failure_origin = failure_origin


class KitaruUserCodeError(KitaruExecutionError):
    """The flow's own code raised; `__cause__` is the original exception where it can be rebuilt."""

    code = "user_code"


class KitaruDivergenceError(KitaruExecutionError):
    """The flow asked for a call that contradicts what was recorded, after its code had changed."""

    code = "divergence"


class KitaruWaitAbortedError(KitaruExecutionError):
    """Someone aborted the wait that the flow was parked on."""

    code = "wait_aborted"


class KitaruWaitExpiredError(KitaruExecutionError):
    """Nobody answered the wait before it expired."""

    code = "wait_expired"


class KitaruBudgetExceededError(KitaruExecutionError):
    """A part of the flow used more money or tokens than its budget allows."""

    code = "budget_exceeded"


class KitaruFeatureNotAvailableError(KitaruError, NotImplementedError):
    """This installation or connection cannot do that."""

    code = "feature_not_available"


class RunnerSignal(BaseException):
    """A signal from the runner to itself through user code.

    It derives from `BaseException` so that `except Exception` in a flow cannot swallow it.
    """


class Suspend(RunnerSignal):
    """Leave the flow without an outcome; the execution goes on later from its record."""


class LeaseLost(RunnerSignal):
    """Another runner owns the execution, or it was ended from outside: stop touching it."""

    def __init__(self, exec_id: str) -> None:
        super().__init__(f"execution {exec_id!r} is no longer held by this runner")
        self.exec_id = exec_id

    def __reduce__(self) -> tuple[object, ...]:
        return (LeaseLost, (self.exec_id,))


class CancelRequested(RunnerSignal):
    """Someone asked for the execution to be cancelled."""
