"""How a soak gets rid of what is long over; the one place that knows."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru import KitaruClient
from kitaru.errors import KitaruNotFoundError, KitaruStateError

# Deleting an execution leaves its large values; the folder is judged once something takes them away.
REMOVES_LARGE_VALUES = False


def prune(client: KitaruClient, exec_ids: Sequence[str]) -> list[str]:
    """Remove finished executions with their children; return those that are gone.

    What an unfinished execution still needs is left for another time.
    """
    pruned: list[str] = []
    for exec_id in exec_ids:
        try:
            client.executions.delete(exec_id)
        except KitaruStateError:
            continue
        except KitaruNotFoundError:
            pass
        pruned.append(exec_id)
    return pruned
