"""Which call of one execution is which of another. Pure.

Calls are matched as the journal matches a flow with its record: first those at the same position that were
asked the same, then those of one name that were asked the same elsewhere, because calls were put in or
taken out before them; then those at the same position, whatever they were asked; then those of one id.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence

from kitaru.model import CallRecord


def matched_calls(here: Sequence[CallRecord], there: Sequence[CallRecord]) -> dict[int, int]:
    """Return for each call here, by its index, the index of the same call there."""
    keys: tuple[Callable[[CallRecord], Hashable], ...] = (
        lambda call: (call.kind, call.position, call.fingerprint),
        lambda call: (call.kind, call.name, call.fingerprint),
        lambda call: (call.kind, call.position),
        lambda call: (call.kind, call.call_id),
    )
    matched: dict[int, int] = {}
    rest_here, rest_there = list(range(len(here))), list(range(len(there)))
    for key in keys:
        waiting: defaultdict[Hashable, deque[int]] = defaultdict(deque)
        for index in rest_there:
            waiting[key(there[index])].append(index)
        found: dict[int, int] = {}
        for index in rest_here:
            candidates = waiting.get(key(here[index]))
            if candidates:
                found[index] = candidates.popleft()
        taken = set(found.values())
        rest_here = [index for index in rest_here if index not in found]
        rest_there = [index for index in rest_there if index not in taken]
        matched.update(found)
    return matched


def in_order(
    here: Sequence[CallRecord], there: Sequence[CallRecord], matched: dict[int, int]
) -> Iterator[tuple[CallRecord | None, CallRecord | None]]:
    """Yield the calls of both; those that are only there after the call that they followed there."""
    partners = {right: left for left, right in matched.items()}
    following: defaultdict[int, list[CallRecord]] = defaultdict(list)
    last = -1
    for index, call in enumerate(there):
        if index in partners:
            last = partners[index]
        else:
            following[last].append(call)
    for call in following[-1]:
        yield None, call
    for index, call in enumerate(here):
        yield call, there[matched[index]] if index in matched else None
        for added in following.get(index, ()):
            yield None, added
