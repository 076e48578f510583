"""What `why` tells of an execution, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kitaru.client.wording import one_line
from kitaru.model import ExecutionStatus, FailureRecord


class WhyReason(StrEnum):
    """Why an execution is where it is."""

    NOT_STARTED = "not_started"
    NOT_YET = "not_yet"  # may be run from a later moment on
    RETRY_SCHEDULED = "retry_scheduled"
    HELD = "held"  # someone has stopped it by hand
    GIVEN_BACK = "given_back"
    MAY_GO_ON = "may_go_on"  # what it waited for is over, and nobody has taken it up
    IN_CALL = "in_call"
    RETRYING_CALL = "retrying_call"
    BETWEEN_CALLS = "between_calls"
    CANCEL_REQUESTED = "cancel_requested"
    INTERRUPTED = "interrupted"  # its runner is gone
    ASKS = "asks"
    SLEEPS = "sleeps"
    WAITS_FOR_CHILD = "waits_for_child"
    COMPLETED = "completed"
    FAILED = "failed"
    LOST_TOO_OFTEN = "lost_too_often"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why an execution is in its state, as it was when someone asked.

    Attributes:
        reason: The same for programs.
        text: The same for people.
        since: Since when it has been so, as far as that is known.
        next_steps: Commands that would move it; none if nothing would, or nothing needs to.
    """

    exec_id: str
    status: ExecutionStatus
    reason: WhyReason
    text: str
    since: datetime | None
    next_steps: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.text, *(f"  {step}" for step in self.next_steps)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is to be told of one execution.

    Attributes:
        predicate: What follows "execution X of flow F".
        more: Further sentences.
    """

    reason: WhyReason
    predicate: str
    more: tuple[str, ...] = ()
    since: int | None = None
    steps: tuple[str, ...] = ()


def error_words(failure: FailureRecord) -> str:
    """Return a failure as it stands in a sentence."""
    name = failure.exception_type.rpartition(".")[2]
    message = one_line(failure.message).rstrip(".")  # the sentence around it has its own
    return f"{name}: {message}" if message else name
