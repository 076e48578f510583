"""Which failed calls a retry of a failed execution runs again."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.model import CallKind, CallRecord, CallStatus, FailureRecord


def positions_to_reopen(calls: Sequence[CallRecord], failure: FailureRecord | None) -> list[str]:
    """Return the positions of the failed calls that led to the failure.

    These are the calls whose exception the flow failed of, directly or as a cause, and failed calls that
    nothing recorded followed from, such as the siblings of a failed one in a fan-out. A failure that the
    flow caught and went on from stays recorded, so that a retry takes the same path again.
    """
    blamed = set(failure.positions) if failure is not None else set[str]()
    followed = {upstream for call in calls for upstream in call.upstreams}
    return [
        call.position
        for call in calls
        if call.status is CallStatus.FAILED
        and call.kind is CallKind.CHECKPOINT
        and (call.position in blamed or call.position not in followed)
    ]
