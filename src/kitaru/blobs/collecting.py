"""Removing blobs that no row names, beside people who are just about to name some.

A writer puts a blob first and commits the row later. Three things together make that safe:

* Only what was last put before `safe_moment` is looked at. Whoever runs has put its blobs since it began, and
  whoever has no execution yet (inputs of a run that is being started, an import) commits within the grace.
* Rows are asked after the blobs were listed: a blob that was put in time is named by then, or never will be.
* `delete_if_stale` sees a blob that was put again meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from kitaru.blobs.contract import BlobStore

GRACE = timedelta(hours=24)
"""For how long a blob stays that nothing names."""

# Between the clock that marks files and the one that marks executions: kernels mark files with a clock that
# lags by milliseconds, and some file systems keep every second one only.
_BLUR = timedelta(seconds=2)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class CollectStep:
    """What one step has removed, and after which digest the next begins; None at the end."""

    after: str | None
    blobs: int
    total_bytes: int


def safe_moment(now: int, oldest_start: int | None, grace: timedelta = GRACE) -> int:
    """Return the moment such that whatever was put before is named by now, or never will be.

    Args:
        now: The present moment of the machine's clock.
        oldest_start: Since when the oldest running execution has been running, asked before `now`.
        grace: For how long a blob stays in any case.
    """
    bounds = [now - grace // _MICROSECOND]
    if oldest_start is not None:
        bounds.append(oldest_start)
    return min(bounds) - _BLUR // _MICROSECOND


def collect_step(
    blobs: BlobStore,
    list_unnamed: Callable[[Sequence[str]], list[str]],
    *,
    before: int,
    after: str = "",
    limit: int = 500,
) -> CollectStep:
    """Remove those of the next `limit` blobs that were last put before `before` and that no row names.

    Durability: each blob by itself. It may be stopped and repeated at any point.
    """
    page = list(islice(blobs.list_blobs(after=after), limit))
    stale = {entry.digest: entry.size for entry in page if entry.put_at < before}
    unnamed = list_unnamed(list(stale)) if stale else []
    gone = [digest for digest in unnamed if blobs.delete_if_stale(digest, before=before)]
    return CollectStep(
        page[-1].digest if len(page) == limit else None,
        len(gone),
        sum(stale[digest] for digest in gone),
    )
