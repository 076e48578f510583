"""Why an execution is in the state it is in, in plain words, and what would move it.

Only what is recorded is told, and what a look at this machine's processes adds. A story is written as what
follows "execution X of flow F", so that it also follows "which" where another execution waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING

from kitaru.client.attended import attended
from kitaru.client.doing import doing_of
from kitaru.client.story import Explanation, Story, WhyReason, error_words
from kitaru.client.waiting import Asked, ended_words
from kitaru.client.wording import since, span
from kitaru.clock import to_datetime
from kitaru.errors import KitaruNotFoundError
from kitaru.fleet import NO_CODE
from kitaru.model import (
    CallKind,
    CallRecord,
    CallStatus,
    ExecutionRecord,
    ExecutionStatus,
    WaitKind,
    WaitRecord,
    WaitStatus,
)

if TYPE_CHECKING:
    from kitaru.client.connection import Connection

_SHOWN = 3  # calls of many that a failure goes back to
# What runners and the store write as a reason, in the words of someone who asks why.
_RETRYING = "retrying"
_GIVEN_BACK = {
    "released": "its runner gave it back before the end",
    "its runner was lost": "its runner was lost",
    NO_CODE: "a worker could not run it with the code that it has, as its log says",
}

# Of several kinds, the first is what someone can do something about.
_WAITS = {
    WaitKind.INPUT: WhyReason.ASKS,
    WaitKind.CHILD: WhyReason.WAITS_FOR_CHILD,
    WaitKind.TIMER: WhyReason.SLEEPS,
}


def explain(connection: Connection, execution: ExecutionRecord, now: int) -> Explanation:
    """Return why an execution is in its state.

    Args:
        connection: Where it is kept.
        execution: Its row.
        now: The present moment.
    """
    story = _Teller(connection, execution, now).story()
    sentences = [
        f"execution {execution.id!r} of flow {execution.flow!r} {story.predicate}.",
        *story.more,
    ]
    if execution.origin_id is not None:
        sentences.append(f"It is a replay of execution {execution.origin_id!r}.")
    return Explanation(
        exec_id=execution.id,
        status=execution.status,
        reason=story.reason,
        text=" ".join(sentences),
        since=None if story.since is None else to_datetime(story.since),
        next_steps=story.steps,
    )


class _Teller:
    """Tells of one execution.

    Args:
        connection: Where it is kept.
        execution: Its row.
        now: The present moment.
        follows: Whether what it waits for is told, too, if that is an execution.
    """

    def __init__(
        self,
        connection: Connection,
        execution: ExecutionRecord,
        now: int,
        *,
        follows: bool = True,
    ) -> None:
        self._connection = connection
        self._store = connection.store
        self._execution = execution
        self._id = execution.id
        self._now = now
        self._follows = follows

    def story(self) -> Story:
        """Return what is to be told."""
        match self._execution.status:
            case ExecutionStatus.PENDING:
                return attended(self._pending(), self._connection, self._execution, self._now)
            case ExecutionStatus.RUNNING:
                return self._running()
            case ExecutionStatus.WAITING:
                return self._waiting()
            case ExecutionStatus.COMPLETED:
                return self._completed()
            case ExecutionStatus.FAILED:
                return self._failed()
            case ExecutionStatus.CANCELLED:
                return self._cancelled()

    # Nobody runs it

    def _pending(self) -> Story:
        execution = self._execution
        is_retry = execution.status_reason == _RETRYING
        before = self._failed_before() if is_retry else ()
        if execution.runnable_at > self._now:
            moment = f"{to_datetime(execution.runnable_at):%Y-%m-%d %H:%M:%S} UTC"
            again = "again " if execution.epoch else ""
            return Story(
                reason=WhyReason.RETRY_SCHEDULED if is_retry else WhyReason.NOT_YET,
                predicate=f"may be run {again}at {moment} (in"
                f" {span(execution.runnable_at - self._now)}), not before",
                more=before,
            )
        if is_retry:
            return Story(
                reason=WhyReason.RETRY_SCHEDULED,
                predicate=f"is to be retried since {self._since(execution.runnable_at)}, and nobody has"
                " begun to",
                more=before,
                since=execution.runnable_at,
                steps=(self._command("resume"),),
            )
        if execution.epoch == 0:
            return Story(
                reason=WhyReason.NOT_STARTED,
                predicate=f"was created {self._ago(execution.created_at)}, and nobody has begun to run it",
                since=execution.created_at,
                steps=(self._command("resume"),),
            )
        return self._may_go_on()

    def _failed_before(self) -> tuple[str, ...]:
        """Tell of the failure that is retried: what its calls tell of it, for its own is not kept."""
        again = {
            call.position: call.call_id
            for call in self._store.list_calls(self._id)
            if call.status is CallStatus.PENDING
        }
        last = {
            attempt.position: attempt
            for attempt in self._store.list_attempts(self._id)
            if attempt.position in again
        }
        told = [
            f"Call {again[position]!r} had failed with {error_words(attempt.failure)}."
            for position, attempt in list(last.items())[:_SHOWN]
        ]
        if len(last) > _SHOWN:
            told.append(f"{len(last) - _SHOWN} more calls had failed.")
        left = self._execution.retries_left
        times = "once more" if left == 1 else f"{left} times more"
        told.append(f"It may be retried {times}." if left else "It is the last retry.")
        return tuple(told)

    def _may_go_on(self) -> Story:
        """Tell of an execution that was run before and that nobody runs now."""
        execution = self._execution
        runnable_at = execution.runnable_at
        over = [
            wait
            for wait in self._store.list_waits(self._id)
            if wait.status is not WaitStatus.OPEN and wait.resolved_at == runnable_at
        ]
        if over:
            # The end of a wait and what it makes of its execution have the same moment.
            why = " and ".join(ended_words(wait) for wait in over)
            return self._taken_up_by_nobody(why, runnable_at)
        reason = execution.status_reason
        why = "it may go on" if reason is None else _GIVEN_BACK.get(reason, reason)
        return Story(
            reason=WhyReason.GIVEN_BACK,
            predicate=f"is pending since {self._since(runnable_at)}: {why}, and nobody goes on with it",
            since=runnable_at,
            steps=(self._command("resume"),),
        )

    def _taken_up_by_nobody(self, why: str, moment: int) -> Story:
        return Story(
            reason=WhyReason.MAY_GO_ON,
            predicate=f"may go on since {self._since(moment)}: {why}, and nobody goes on with it",
            since=moment,
            steps=(self._command("resume"),),
        )

    # Somebody runs it, or did

    def _running(self) -> Story:
        execution = self._execution
        runner = self._connection.neighbours.runner_of_execution(execution, self._now)
        asked_at = execution.cancel_requested_at
        if runner.lost is not None:
            then = "It is recoverable"
            if asked_at is not None:
                then = f"{self._asked_to_cancel()}; recovering it cancels it"
            return Story(
                reason=WhyReason.INTERRUPTED,
                predicate=f"was interrupted: {runner.lost}",
                more=(f"{then}.",),
                steps=(self._command("recover"),),
            )
        where = self._where(runner.pid, is_here=runner.is_here)
        if asked_at is not None:
            return Story(
                reason=WhyReason.CANCEL_REQUESTED,
                predicate="is to be cancelled, and its runner has not noticed yet",
                more=(f"{self._asked_to_cancel()}; {where}.",),
                since=asked_at,
            )
        doing = doing_of(
            execution,
            self._store.list_calls(self._id),
            self._store.list_attempts(self._id),
            self._now,
        )
        waits = self._open_waits()
        if waits and doing.reason is WhyReason.BETWEEN_CALLS:
            # Its process stays for a while, in case the answer comes soon.
            doing = self._waits_for(waits)
            more = doing.more
        else:
            more = (*doing.more, *(f"It waits for {self._named(wait)}." for wait in waits))
        return Story(
            reason=doing.reason,
            predicate=f"{doing.predicate}; {where}" if not waits else doing.predicate,
            more=more if not waits else (*more, f"{where[0].upper()}{where[1:]}."),
            since=doing.since,
            steps=self._answers(waits),
        )

    def _asked_to_cancel(self) -> str:
        by = self._execution.cancel_requested_by or "someone"
        return f"{by} asked for it to be cancelled {self._ago(self._execution.cancel_requested_at or 0)}"

    def _where(self, pid: int | None, *, is_here: bool) -> str:
        if pid is not None and is_here:
            return f"its process {pid} on this machine is alive"
        left = span((self._execution.lease_expires_at or self._now) - self._now)
        runner = "its runner" if pid is None else f"its process {pid} on another machine"
        return f"{runner} holds the lease for another {left}, unless it renews it"

    # It waits

    def _waiting(self) -> Story:
        waits = self._open_waits()
        due = [wait for wait in waits if wait.wake_at is not None and wait.wake_at <= self._now]
        if due:
            first = min(due, key=lambda wait: wait.wake_at or 0)
            what = "its sleep is over" if first.kind is WaitKind.TIMER else ""
            why = what or f"{first.wait_id!r} has expired"
            return self._taken_up_by_nobody(why, first.wake_at or 0)
        if not waits:
            return Story(
                reason=WhyReason.MAY_GO_ON,
                predicate="waits for nothing that is recorded",
                steps=(self._command("resume"),),
            )
        return self._waits_for(waits)

    def _waits_for(self, waits: Sequence[WaitRecord]) -> Story:
        """Tell what is waited for, which is not over."""
        began = min(wait.created_at for wait in waits)
        if len(waits) == 1:
            [wait] = waits
            verb = "sleeps" if wait.kind is WaitKind.TIMER else "waits for"
            predicate, more = f"{verb} {self._told(wait)}", self._asked(wait).remarks()
        else:
            predicate = f"waits for {len(waits)} things since {self._since(began)}"
            more = tuple(
                f"({number}) {self._named(wait)}." for number, wait in enumerate(waits, start=1)
            )
        kinds = {wait.kind for wait in waits}
        return Story(
            reason=next(reason for kind, reason in _WAITS.items() if kind in kinds),
            predicate=predicate,
            more=more,
            since=began,
            steps=self._answers(waits),
        )

    def _open_waits(self) -> list[WaitRecord]:
        found = self._store.list_waits(self._id)
        return [wait for wait in found if wait.status is WaitStatus.OPEN]

    def _asked(self, wait: WaitRecord) -> Asked:
        return Asked(wait, self._now)

    def _named(self, wait: WaitRecord) -> str:
        """Return one of several waits, with all that there is to say."""
        told = self._told(wait)
        if wait.kind is WaitKind.TIMER:
            told = f"its sleep {wait.wait_id!r} {told}"
        remarks = [remark.removesuffix(".") for remark in self._asked(wait).remarks()]
        return ". ".join([told, *remarks])

    def _told(self, wait: WaitRecord) -> str:
        """Return what is waited for, as it follows "waits for" or, of a timer, "sleeps"."""
        if wait.kind is not WaitKind.CHILD:
            return self._asked(wait).told()
        ago = f"since {self._since(wait.created_at)}"
        try:
            child = self._store.get_execution(wait.child_id or "")
        except KitaruNotFoundError:
            return f"execution {wait.child_id!r}, which has been deleted, {ago}"
        named = f"execution {child.id!r} of flow {child.flow!r} {ago}"
        if not self._follows:
            return named
        story = self._of(child).story()
        itself = "itself " if child.status is ExecutionStatus.WAITING else ""
        return f"{named}, which {itself}{story.predicate}"

    def _answers(self, waits: Sequence[WaitRecord]) -> tuple[str, ...]:
        """Return the commands that end waits: of a child, those that move it."""
        steps: dict[str, None] = {}
        for wait in waits:
            if wait.kind is WaitKind.INPUT:
                steps[self._asked(wait).command(waits)] = None
            elif wait.kind is WaitKind.CHILD and self._follows:
                try:
                    child = self._store.get_execution(wait.child_id or "")
                except KitaruNotFoundError:
                    continue
                steps.update(dict.fromkeys(self._of(child).story().steps))
        return tuple(steps)

    def _of(self, child: ExecutionRecord) -> _Teller:
        return _Teller(self._connection, child, self._now, follows=False)

    # It is over

    def _completed(self) -> Story:
        execution = self._execution
        ended = execution.ended_at or 0
        took = span(ended - (execution.started_at or ended))
        return Story(
            reason=WhyReason.COMPLETED,
            predicate=f"completed {self._ago(ended)}, {took} after it had begun",
            since=execution.ended_at,
        )

    def _cancelled(self) -> Story:
        execution = self._execution
        by = f" by {execution.cancel_requested_by}" if execution.cancel_requested_by else ""
        reason = execution.status_reason
        return Story(
            reason=WhyReason.CANCELLED,
            predicate=f"was cancelled{by} {self._ago(execution.ended_at or 0)}",
            # What was exported before its end says so; to others, the reason repeats the status.
            more=() if reason in {None, execution.status.value} else (f"It {reason}.",),
            since=execution.ended_at,
        )

    def _failed(self) -> Story:
        execution = self._execution
        ago = self._ago(execution.ended_at or 0)
        reason = execution.status_reason
        retry = self._command("retry")
        if execution.failure is None:
            return Story(
                reason=WhyReason.LOST_TOO_OFTEN,
                predicate=f"failed {ago}: {reason or 'nobody told why'}",
                since=execution.ended_at,
                steps=(retry,),
            )
        calls = self._store.list_calls(self._id)
        blamed = [call for call in calls if call.position in execution.failure.positions]
        told = [self._blame(call) for call in blamed[:_SHOWN]]
        if len(blamed) > _SHOWN:
            told.append(f"{len(blamed) - _SHOWN} more calls failed")
        if not told:
            told = [f"its body raised {error_words(execution.failure)}"]
        why = f"{reason}: " if reason else ""
        return Story(
            reason=WhyReason.FAILED,
            predicate=f"failed {ago}: {why}{'; '.join(told)}",
            since=execution.ended_at,
            steps=(retry, *(self._from(call, calls) for call in blamed[:1])),
        )

    def _blame(self, call: CallRecord) -> str:
        if call.kind is CallKind.CHILD:
            return f"the flow {call.name!r} that it had started failed (call {call.call_id!r})"
        if call.failure is None:
            return f"call {call.call_id!r} failed"
        tries = [
            attempt
            for attempt in self._store.list_attempts(self._id)
            if attempt.position == call.position
        ]
        after = f" after {len(tries)} attempts" if len(tries) > 1 else ""
        what = "wait" if call.kind is CallKind.WAIT else "call"
        return f"{what} {call.call_id!r} failed with {error_words(call.failure)}{after}"

    def _from(self, call: CallRecord, calls: Sequence[CallRecord]) -> str:
        # The id of a name's first call is also the name of all of them.
        same = [other for other in calls if call.call_id in {other.call_id, other.name}]
        selector = call.call_id if len(same) == 1 else call.position
        return f"{self._command('replay')} --from {quote(selector)}"

    # Words

    def _command(self, verb: str) -> str:
        return f"kitaru executions {verb} {self._id}"

    def _since(self, moment: int) -> str:
        return since(moment, self._now)

    def _ago(self, moment: int) -> str:
        return f"{self._since(moment)} ago"
