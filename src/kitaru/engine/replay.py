"""A new execution from an old one's journal: what is taken over, what runs again.

Model. The replay runs the flow from the top, with a journal of its own. A call that has no record there is
looked up in the origin's journal, and its record is taken over as `reused`, unless

* it is the selected call or one of its descendants in the recorded call graph, or a descendant of a call
  whose value the replay overrides (the overridden calls themselves lie in the replay's journal from the
  beginning); or it led to the origin's failure;
* or its arguments have changed and it did not end before the selected call began.

Only what the origin had recorded when the replay was created counts, so that an origin that goes on later
changes nothing. What is taken over costs no commit of its own: a crash forgets it and it is taken over again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from kitaru.engine.calls import kind_prefix
from kitaru.engine.journal import Journal, OnDivergence
from kitaru.errors import KitaruNotFoundError
from kitaru.model import (
    ArtifactRecord,
    CallKind,
    CallRecord,
    CallStatus,
    ExecutionStatus,
    MetadataRecord,
)

if TYPE_CHECKING:
    from kitaru.engine.calls import Call
    from kitaru.engine.run import Services
    from kitaru.model import ExecutionRecord

Beside = tuple[ArtifactRecord | MetadataRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """What a replay is to do, as its execution's row keeps it.

    Attributes:
        from_position: The selected call, if one was.
        overridden: Positions in the origin whose values are replaced.
        failed: Positions of calls that led to the origin's failure.
        inputs: Names of the flow inputs that were given anew.
    """

    from_position: str | None = None
    overridden: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the plan as JSON values."""
        return {
            "version": 1,
            "from": self.from_position,
            "overridden": list(self.overridden),
            "failed": list(self.failed),
            "inputs": list(self.inputs),
        }

    @classmethod
    def from_json(cls, plan: Mapping[str, object]) -> ReplayPlan:
        """Read what `to_json` returned."""
        selected = plan.get("from")
        return cls(
            from_position=selected if isinstance(selected, str) else None,
            overridden=_words(plan.get("overridden")),
            failed=_words(plan.get("failed")),
            inputs=_words(plan.get("inputs")),
        )


def _words(found: object) -> tuple[str, ...]:
    return tuple(map(str, cast("list[object]", found))) if isinstance(found, list) else ()


@dataclass(frozen=True, slots=True)
class Found:
    """What the origin has for a call.

    Attributes:
        record: Its record as the replay's own, if it is to be taken over.
        beside: What the call saved and logged.
        hint: The call id that it had there.
        must_run: It is to run again, whatever a cache has.
    """

    record: CallRecord | None = None
    beside: Beside = ()
    hint: str | None = None
    must_run: bool = False


_NOTHING = Found()


class Replay:
    """The origin's journal, as one run of the replay uses it up.

    Args:
        plan: What is to run again.
        origin_id: The execution that is replayed.
        records: Its journal.
        beside: What its calls saved and logged, by position.
        before: Only what had ended at this moment is taken over.
        code_changed: Whether the flow's code is another than the origin's.
        lost: Positions whose records are of no use any more.
    """

    def __init__(
        self,
        plan: ReplayPlan,
        origin_id: str,
        records: Sequence[CallRecord],
        beside: Mapping[str, Beside],
        *,
        before: int,
        code_changed: bool,
        lost: Collection[str] = (),
    ) -> None:
        self._origin_id = origin_id
        self._beside = beside
        usable = [
            # However the origin came by an outcome, here it is one.
            replace(
                record,
                status=CallStatus.FAILED if record.output is None else CallStatus.COMPLETED,
            )
            for record in records
            if (record.ended_at or before + 1) <= before and record.position not in lost
        ]
        selected = [record for record in records if record.position == plan.from_position]
        self._began = selected[0].started_at if selected else None
        self._again = what_runs_again(plan, records)
        self._journal = Journal(usable, on_divergence=OnDivergence.RERUN, code_changed=code_changed)

    def find(self, call: Call, position: str) -> Found:
        """Return what the origin has for a call that stands at `position` in the replay."""
        path = call.scope.path
        return self.look_up(
            call.scope.run.epoch,
            position,
            prefix=f"{path}/" if path else "",
            name=call.spec.name,
            ordinal=call.ordinal,
            fingerprint=call.fingerprint,
            ordered=call.ordered,
            kind=call.kind,
            anonymous=call.spec.ignore.issuperset(call.arguments),
            label=call.label,
            upstreams=call.upstreams,
        )

    def look_up(
        self,
        epoch: int,
        position: str,
        *,
        prefix: str,
        name: str,
        ordinal: int,
        fingerprint: bytes,
        ordered: bool,
        kind: CallKind,
        anonymous: bool = False,
        label: str | None = None,
        upstreams: tuple[str, ...] = (),
    ) -> Found:
        """As `find`, for what is known of a call."""
        match = self._journal.match(
            prefix,
            name,
            ordinal,
            fingerprint,
            ordered=ordered,
            kind=kind,
            anonymous=anonymous,
            label=label,
        )
        record = match.record or match.contradiction
        if record is None:
            return _NOTHING
        if record.position in self._again:
            return Found(hint=record.call_id, must_run=True)
        if match.record is None and not (
            self._is_settled(record, ordered=ordered) and self._journal.take(record)
        ):
            # The record is left for the call that it belongs to: this one may have been inserted.
            return Found(hint=record.call_id)
        taken = replace(
            record,
            position=position,
            fingerprint=fingerprint,
            ordered=ordered,
            status=CallStatus.COMPLETED if kind is CallKind.VALUE else CallStatus.REUSED,
            upstreams=upstreams,
            cache_key=None,
            cached_from=None if kind is CallKind.VALUE else f"{self._origin_id}/{record.position}",
            epoch=epoch,
        )
        beside = tuple(
            replace(kept, position=position) for kept in self._beside.get(record.position, ())
        )
        return Found(taken, beside, hint=record.call_id)

    def _is_settled(self, record: CallRecord, *, ordered: bool) -> bool:
        """Whether a record holds with other arguments: it ended before the selected call began.

        Of an unordered call nobody knows whether the record at its place is its own.
        """
        if self._began is None or not (ordered and record.ordered):
            return False
        return record.ended_at is not None and record.ended_at <= self._began


def what_runs_again(plan: ReplayPlan, records: Iterable[CallRecord]) -> frozenset[str]:
    """Return the positions in the origin whose calls the replay runs again whatever their arguments."""
    followers: defaultdict[str, list[str]] = defaultdict(list)
    for record in records:
        for upstream in record.upstreams:
            followers[upstream].append(record.position)
    again = {plan.from_position} if plan.from_position is not None else set[str]()
    again.update(plan.failed)
    for position in plan.overridden:
        again.update(followers[position])
    reached = list(again)
    while reached:
        for follower in followers[reached.pop()]:
            if follower not in again:
                again.add(follower)
                reached.append(follower)
    return frozenset(again.difference(plan.overridden))


def load_replay(services: Services, execution: ExecutionRecord, code_hash: str) -> Replay | None:
    """Return what a replay takes over from its origin; None if the execution is no replay.

    Raises:
        KitaruNotFoundError: The origin is not here any more.
    """
    if execution.origin_id is None:
        return None
    store = services.store
    try:
        origin = store.get_execution(execution.origin_id)
    except KitaruNotFoundError as error:
        message = (
            f"execution {execution.id!r} replays execution {execution.origin_id!r}, which is not in this"
            f" store: it was deleted, or not imported. What the replay has not taken over yet cannot be"
            f" had: import the origin, or start a new run."
        )
        raise KitaruNotFoundError(message) from error
    calls = store.list_calls(origin.id)
    beside: defaultdict[str, list[ArtifactRecord | MetadataRecord]] = defaultdict(list)
    for artifact in store.list_artifacts(origin.id):
        beside[artifact.position].append(artifact)
    for logged in store.list_metadata(origin.id):
        if logged.position:
            beside[logged.position].append(logged)
    return Replay(
        ReplayPlan.from_json(execution.replay_plan or {}),
        origin.id,
        calls,
        {position: tuple(kept) for position, kept in beside.items()},
        before=execution.created_at,
        code_changed=code_hash != origin.code_hash,
        lost=_without_their_child(services, calls),
    )


def _without_their_child(services: Services, calls: Iterable[CallRecord]) -> set[str]:
    """Return where flows were started whose executions have not come to an end of their own, or are gone."""
    started = {
        call.position: str(services.values.load(call.output))
        for call in calls
        if call.kind is CallKind.CHILD and call.output is not None
    }
    statuses = services.store.get_statuses(sorted(started.values())) if started else {}
    ended = {ExecutionStatus.COMPLETED, ExecutionStatus.FAILED}
    return {position for position, child in started.items() if statuses.get(child) not in ended}


def selectable(records: Iterable[CallRecord]) -> list[CallRecord]:
    """Return the calls that people can select: all but recorded values."""
    return [record for record in records if record.kind is not CallKind.VALUE]


def selected_by(selector: str, records: Iterable[CallRecord]) -> list[CallRecord]:
    """Return the calls that a selector means: by position, call id, or name of the checkpoint or wait."""
    found = [record for record in records if selector == record.position]
    return found or [
        record
        for record in records
        if selector in {record.call_id, record.name}
        or record.position == f"{kind_prefix(record.kind)}{selector}"
    ]
