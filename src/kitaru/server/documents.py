"""What the API takes and answers, as models: for the OpenAPI document, and for checking what comes in.

Answers are the shapes of `kitaru.client.shapes`, which the command line prints too; the models describe them
and a test compares the two. Clients pass over members that they do not know.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from kitaru.client.story import WhyReason
from kitaru.errors import FailureOrigin
from kitaru.model import ExecutionStatus, WaitStatus

EXEC_ID = "01981f5e-7a3c-7b10-9f2e-5c1de0a4b6f7"
"""The execution of the examples."""

JsonObject = dict[str, Any]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=2000)]
"""What people type: some databases know no character 0."""


class Document(BaseModel):
    """What an answer has; all members are always there, unless they have a default here."""

    model_config = ConfigDict(extra="ignore")


class Request(BaseModel):
    """What a body may have; anything else is refused, so that a mistyped member is no silent loss."""

    model_config = ConfigDict(extra="forbid")


class Problem(Document):
    """What went wrong (RFC 9457), with the stable code of the exception that a client raises."""

    type: str = Field(examples=["urn:kitaru:problem:not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no execution's id begins with 'feed'."])
    code: str = Field(examples=["not_found"])


class Failure(Document):
    """Why something failed."""

    message: str
    exception_type: str | None = Field(examples=["builtins.ValueError"])
    traceback: str | None
    origin: FailureOrigin


class PendingWait(Document):
    """An open question."""

    wait_id: str = Field(examples=["approve"])
    name: str
    question: str | None = Field(examples=["Publish it?"])
    schema_: JsonObject | None = Field(alias="schema", examples=[{"type": "boolean"}])
    metadata: JsonObject
    entered_waiting_at: datetime
    expires_at: datetime | None
    problem: str | None
    exec_id: str = Field(examples=[EXEC_ID])
    flow_name: str


class Wait(PendingWait):
    """A question, open or over."""

    status: WaitStatus
    answer: Any
    resolved_at: datetime | None
    resolved_by: str | None = Field(examples=["ann@laptop"])
    resolved_via: str | None


class Artifact(Document):
    """A kept value, without the value."""

    artifact_id: str = Field(examples=[f"{EXEC_ID}/draft/output"])
    name: str
    kind: str | None
    save_type: str
    producing_call: str | None
    metadata: JsonObject
    tags: list[str]
    attempt_failed: bool
    created_at: datetime | None


class ArtifactValue(Artifact):
    """A kept value, with what it holds as JSON-like values if that was asked for."""

    value: Any = None


class Attempt(Document):
    """One try of a call."""

    attempt_id: str
    number: int
    status: ExecutionStatus
    started_at: datetime
    ended_at: datetime | None
    metadata: JsonObject
    failure: Failure | None


class Checkpoint(Document):
    """One recorded call."""

    call_id: str = Field(examples=["draft"])
    name: str
    checkpoint_type: str | None
    status: ExecutionStatus
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    metadata: JsonObject
    original_call_id: str | None
    position: str
    is_reused: bool
    wakes_at: datetime | None
    is_overridden: bool
    parent_call_ids: list[str]
    child_exec_id: str | None
    failure: Failure | None
    attempts: list[Attempt]
    artifacts: list[Artifact]


class ExecutionSummary(Document):
    """An execution in a list."""

    exec_id: str = Field(examples=[EXEC_ID])
    flow_id: str | None = Field(examples=["reports:weekly"])
    flow_name: str | None = Field(examples=["weekly"])
    status: ExecutionStatus
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stack_name: str | None
    status_reason: str | None
    original_exec_id: str | None
    pending_wait: PendingWait | None
    failure: Failure | None
    metadata: JsonObject
    tags: list[str]
    parent_exec_id: str | None
    checkpoint_count: int
    artifact_count: int


class Execution(ExecutionSummary):
    """An execution in full."""

    recoveries: int
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None
    frozen_execution_spec: JsonObject
    pending_waits: list[PendingWait]
    waits: list[Wait]
    checkpoints: list[Checkpoint]
    artifacts: list[Artifact]


class Page(Document):
    """Some of many."""

    count: int = Field(description="How many items this page has.")
    next: str | None = Field(
        description="What to give as `after` to get the next page; null on the last one."
    )


class ExecutionPage(Page):
    """Executions, newest first."""

    items: list[ExecutionSummary]


class WaitPage(Page):
    """Open questions, oldest first."""

    items: list[PendingWait]


class CheckpointList(Document):
    """The calls of an execution in the order in which they began."""

    items: list[Checkpoint]
    count: int


class WaitList(Document):
    """The questions of an execution in the order in which they were asked."""

    items: list[Wait]
    count: int


class ArtifactList(Document):
    """The kept values of an execution in the order of its calls."""

    items: list[Artifact]
    count: int


class LogEntry(Document):
    """A line that a run printed or logged."""

    message: str
    level: str | None = None
    timestamp: datetime
    source: str = Field(examples=["stdout"])
    checkpoint_name: str | None = None
    attempt: int | None = None
    logger: str | None = None
    module: str | None = None
    filename: str | None = None
    lineno: int | None = None


class LogPage(Page):
    """Log lines, oldest first."""

    items: list[LogEntry]


class Event(Document):
    """What an execution has told."""

    exec_id: str = Field(examples=[EXEC_ID])
    kind: str = Field(examples=["kitaru.execution.completed"])
    payload: JsonObject
    correlation_id: str | None
    index: int | None
    cursor: str | None
    checkpoint_id: str | None
    checkpoint_name: str | None
    step_name: str | None
    created_at: datetime


class EventPage(Page):
    """Events, oldest first."""

    items: list[Event]


class Explanation(Document):
    """Why an execution is in its state."""

    exec_id: str = Field(examples=[EXEC_ID])
    status: ExecutionStatus
    reason: WhyReason
    text: str
    since: datetime | None
    next_steps: list[str]


class Value(Document):
    """What a kept value holds, as JSON-like values; nothing of a user's code was run for it."""

    value: Any


class Change(Document):
    """One place where two values differ."""

    path: str
    kind: str
    here: Any
    there: Any


class ValueDiff(Document):
    """How a value differs."""

    is_same: bool
    changes: list[Change]
    more: int
    problem: str | None


class CallDiff(Document):
    """How a call differs."""

    kind: str
    call_id: str
    name: str
    position: str
    here: Any
    there: Any
    inputs: ValueDiff
    output: ValueDiff
    here_failure: str | None
    there_failure: str | None
    here_duration_seconds: float | None
    there_duration_seconds: float | None


class Diff(Document):
    """How two executions differ."""

    exec_id: str = Field(examples=[EXEC_ID])
    other_id: str
    flow_name: str
    other_flow_name: str
    is_same: bool
    is_same_flow: bool
    is_same_code: bool
    is_replay: bool
    status: ExecutionStatus
    other_status: ExecutionStatus
    inputs: ValueDiff
    result: ValueDiff
    failure: str | None
    other_failure: str | None
    same: int
    changed: int
    only_here: int
    only_there: int
    calls: list[CallDiff]


class Spans(Document):
    """How long some things took."""

    count: int
    mean_seconds: float
    median_seconds: float
    p95_seconds: float
    max_seconds: float


class WaitFigures(Document):
    """The questions of a flow's executions."""

    asked: int
    answered: int
    aborted: int
    expired: int
    time_to_answer: Spans | None


class CheckpointFigures(Document):
    """The calls of one checkpoint."""

    name: str
    calls: int
    failed: int
    cached: int
    reused: int
    failed_attempts: int
    durations: Spans | None


class Flow(Document):
    """How one flow has fared."""

    flow_name: str = Field(examples=["weekly"])
    executions: int
    by_status: dict[ExecutionStatus, int]
    success_rate: float | None
    durations: Spans | None
    recoveries: int
    waits: WaitFigures
    checkpoints: list[CheckpointFigures]


class FlowList(Document):
    """How a project's flows have fared, by name."""

    project: str = Field(examples=["default"])
    since: datetime | None
    items: list[Flow]
    count: int


class Project(Document):
    """A project that has executions."""

    name: str = Field(examples=["default"])


class ProjectList(Document):
    """The projects that have executions, by name."""

    items: list[Project]
    count: int


class Worker(Document):
    """A process that takes executions up, as it has announced itself."""

    project: str
    stack: str
    flows: list[str]
    concurrency: int
    running: int
    seen_at: datetime


class Status(Document):
    """What this server is and has."""

    version: str = Field(description="Of Kitaru.", examples=["0.1.0"])
    project: str = Field(description="Which one is meant where a request names none.")
    store: str = Field(
        description="Where things are kept, without credentials.",
        examples=["postgresql://db.example.com/kitaru"],
    )
    now: datetime = Field(description="The moment that all leases and deadlines go by.")
    executions: dict[ExecutionStatus, int] = Field(
        description="How many of all projects stand where; counting stops at `counted_up_to`."
    )
    open_waits: int
    due: int = Field(description="How many could be taken up now.")
    counted_up_to: int
    workers: list[Worker]


class Answer(Request):
    """An answer to a question."""

    value: Any = Field(
        description="A JSON value that fits the question's schema; null for a gate.",
        examples=[True],
    )


class Health(Document):
    """That all is well."""

    status: str = Field(examples=["ok"])
