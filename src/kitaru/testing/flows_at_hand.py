"""Finds the flows that a flow uses, also those that were made in a function, where no name leads to them."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any, cast

from kitaru.authoring.checkpoint import Checkpoint
from kitaru.authoring.flow import Flow

UserValue = Any


def find_flow(flow: Flow[..., Any], code_ref: str) -> Flow[..., Any] | None:
    """Return the flow that executions name so: `flow` itself, or one that its code can reach."""
    seen: set[int] = set()
    found: list[UserValue] = [flow]
    while found:
        candidate = found.pop()
        if id(candidate) in seen:
            continue
        seen.add(id(candidate))
        if isinstance(candidate, Flow) and str(candidate.code_ref) == code_ref:
            return cast("Flow[..., Any]", candidate)
        found.extend(_used_by(candidate))
    return None


def _used_by(candidate: UserValue) -> Iterator[UserValue]:
    if isinstance(candidate, Flow | Checkpoint):
        # What functions are decorated with leaves the function here, as `functools.wraps` does.
        yield getattr(cast("object", candidate), "__wrapped__", None)
    if not isinstance(candidate, FunctionType):
        return
    yield getattr(candidate, "__wrapped__", None)
    for cell in candidate.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is not filled yet
            continue
    for value in candidate.__globals__.values():
        if isinstance(value, Flow | Checkpoint):
            yield value
