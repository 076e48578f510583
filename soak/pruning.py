"""How a soak gets rid of what is long over; the one place that knows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from kitaru import KitaruClient
from kitaru.errors import KitaruNotFoundError
from kitaru.retention import RetentionRule

# Longer than any body of the mix takes, so that blobs come and go while workers put them.
_GRACE = timedelta(seconds=30)


def prune(client: KitaruClient, exec_ids: Sequence[str], keep: timedelta) -> list[str]:
    """Remove what ended longer ago than `keep`; return which of these executions are gone.

    What an unfinished execution still needs is left for another time.
    """
    client.upkeep.prune([RetentionRule(older_than=keep)], grace=_GRACE)
    return [exec_id for exec_id in exec_ids if _is_gone(client, exec_id)]


def _is_gone(client: KitaruClient, exec_id: str) -> bool:
    try:
        client.executions.get(exec_id)
    except KitaruNotFoundError:
        return True
    return False
