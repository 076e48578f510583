"""The closed sets of words that say where things stand, as they are stored, sent and shown."""

from __future__ import annotations

from enum import StrEnum


class ExecutionStatus(StrEnum):
    """Where an execution stands; `transitions.py` says what may follow what."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen unless someone retries it."""
        return self in {self.COMPLETED, self.FAILED, self.CANCELLED}

    @property
    def is_successful(self) -> bool:
        """Whether it ended with a result."""
        return self is ExecutionStatus.COMPLETED


class CallStatus(StrEnum):
    """Where a call stands.

    `completed`, `cached`, `reused`, `overridden` and `failed` are outcomes: recovery returns or raises them
    and does not run the body. `running` and `pending` rows are for watching, and keep a call's id and
    attempts: `running` while a body runs or a wait is open, `pending` for a failed call that a retry of the
    execution has reopened. A `reused` row holds what the call came to in the execution that is replayed, a
    result or a failure; an `overridden` one holds the value that the replay was given for it.
    """

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    CACHED = "cached"
    REUSED = "reused"
    OVERRIDDEN = "overridden"
    FAILED = "failed"

    @property
    def is_recorded(self) -> bool:
        """Whether the row holds an outcome."""
        return self is not CallStatus.RUNNING and self is not CallStatus.PENDING


class CallKind(StrEnum):
    """What kind of thing a journal row records."""

    CHECKPOINT = "checkpoint"
    CHILD = "child"  # a flow started inside a flow; the output is the child's execution id
    VALUE = "value"  # `kitaru.now()` and its like
    WAIT = "wait"  # `kitaru.wait()`; the output is the answer, as the flow got it
    TIMER = "timer"  # `kitaru.sleep()`


class WaitKind(StrEnum):
    """What an execution is parked on."""

    INPUT = "input"  # someone's answer
    TIMER = "timer"  # a moment
    CHILD = "child"  # the end of an execution that its flow has started


class WaitStatus(StrEnum):
    """Where a wait stands; all but `open` are final, unless the flow asks again."""

    OPEN = "open"
    ANSWERED = "answered"  # an answer was given, the moment has come, or the child has ended
    ABORTED = "aborted"
    EXPIRED = "expired"  # nobody answered before `wake_at`
    CLOSED = "closed"  # the execution ended first


class AttemptStatus(StrEnum):
    """How one attempt ended; a call's successful attempt is told by the call's own row."""

    FAILED = "failed"
    TIMED_OUT = "timed_out"


class LogSource(StrEnum):
    """What a log line was written to."""

    STDOUT = "stdout"
    STDERR = "stderr"
    LOGGING = "logging"


class EventKind(StrEnum):
    """What Kitaru itself tells those who watch; user code's own kinds are other words."""

    CHECKPOINT_STARTED = "kitaru.checkpoint.started"
    CHECKPOINT_PROGRESS = "kitaru.checkpoint.progress"
    CHECKPOINT_RETURNED = "kitaru.checkpoint.returned"
    CHECKPOINT_FAILED = "kitaru.checkpoint.failed"
    WAIT_ASKED = "kitaru.wait.asked"
    WAIT_ANSWERED = "kitaru.wait.answered"
    WAIT_ABORTED = "kitaru.wait.aborted"
    WAIT_EXPIRED = "kitaru.wait.expired"
    EXECUTION_COMPLETED = "kitaru.execution.completed"
    EXECUTION_FAILED = "kitaru.execution.failed"
    EXECUTION_CANCELLED = "kitaru.execution.cancelled"
    DIVERGENCE = "divergence"  # a record and the flow's code contradict each other
    GAP = "gap"  # events are missing here
