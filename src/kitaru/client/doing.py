"""What the body of a running execution is doing, as far as its journal tells. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.client.story import Story, WhyReason, error_words
from kitaru.client.wording import since, span
from kitaru.model import AttemptRecord, CallKind, CallRecord, CallStatus, ExecutionRecord

_SHOWN = 3  # calls of many that run at once


def doing_of(
    execution: ExecutionRecord,
    calls: Sequence[CallRecord],
    attempts: Sequence[AttemptRecord],
    now: int,
) -> Story:
    """Return what a running execution is doing.

    Args:
        execution: Its row.
        calls: Its journal.
        attempts: The failed attempts of its calls.
        now: The present moment.
    """
    # Rows of an earlier claim tell what will run again.
    running = sorted(
        (
            call
            for call in calls
            if call.status is CallStatus.RUNNING
            and call.epoch == execution.epoch
            and call.kind is CallKind.CHECKPOINT
        ),
        key=lambda call: call.started_at,
    )
    if not running:
        return _between(execution, calls, now)
    failed: dict[str, list[AttemptRecord]] = {}
    for attempt in attempts:
        failed.setdefault(attempt.position, []).append(attempt)
    if len(running) == 1:
        [call] = running
        return _in_call(call, failed.get(call.position, []), now)
    told = ", ".join(_briefly(call, failed, now) for call in running[:_SHOWN])
    more = f" and {len(running) - _SHOWN} more" if len(running) > _SHOWN else ""
    return Story(
        reason=WhyReason.IN_CALL,
        predicate=f"is in {len(running)} calls: {told}{more}",
        since=running[0].started_at,
    )


def _between(execution: ExecutionRecord, calls: Sequence[CallRecord], now: int) -> Story:
    ended = [call for call in calls if call.ended_at and call.kind is CallKind.CHECKPOINT]
    if not ended:
        began = execution.started_at or execution.created_at
        return Story(
            reason=WhyReason.BETWEEN_CALLS,
            predicate=f"is running since {since(began, now)} and has recorded no call yet",
            since=began,
        )
    last = max(ended, key=lambda call: call.ended_at or 0)
    moment = last.ended_at or 0
    return Story(
        reason=WhyReason.BETWEEN_CALLS,
        predicate=f"is between calls, or in one that began just now: {last.call_id!r} ended"
        f" {since(moment, now)} ago",
        since=moment,
    )


def _in_call(call: CallRecord, failed: Sequence[AttemptRecord], now: int) -> Story:
    if not failed:
        return Story(
            reason=WhyReason.IN_CALL,
            predicate=f"is in call {call.call_id!r} since {since(call.started_at, now)}",
            since=call.started_at,
        )
    last = failed[-1]
    most = "" if last.most is None else f" of {last.most}"
    begins = "" if last.next_at is None else f", since {since(last.next_at, now)}"
    if last.next_at is not None and last.next_at > now:
        begins = f", in {span(last.next_at - now)}"
    return Story(
        reason=WhyReason.RETRYING_CALL,
        predicate=f"is retrying call {call.call_id!r}, attempt {last.number + 1}{most}{begins}",
        more=(f"Attempt {last.number} failed with {error_words(last.failure)}.",),
        since=last.ended_at,
    )


def _briefly(call: CallRecord, failed: dict[str, list[AttemptRecord]], now: int) -> str:
    tries = failed.get(call.position, [])
    attempt = f", attempt {tries[-1].number + 1}" if tries else ""
    return f"{call.call_id!r} since {since(call.started_at, now)}{attempt}"
