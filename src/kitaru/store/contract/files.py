"""A store's file as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kitaru.retention import Space


class Files(Protocol):
    """Measure, shrink, copy and replace a store as a whole."""

    def measure_space(self) -> Space:
        """Return how large the store is, and how much of that is free to be written again."""
        ...

    def shrink(self) -> None:
        """Give free space back to the disk; whoever else writes waits for as long as it takes.

        Durability: one transaction. A crash leaves the store as it was.

        Raises:
            KitaruBackendError: The disk has no room for the copy that it is made from.
        """
        ...

    def back_up(self, path: Path) -> None:
        """Write the store as it is at one moment to a file that does not exist; nobody waits for it.

        Durability: the file is complete and flushed when this returns. A crash leaves a part of it.
        """
        ...

    def restore(self, path: Path) -> None:
        """Replace everything in the store by what `back_up` has written.

        Whoever has the store open sees the one or the other, and goes on with the latter.

        Durability: one transaction. A crash leaves the store as it was, or restored.

        Raises:
            KitaruBackendError: The file is damaged, no store, or a newer version's; nothing is changed.
        """
        ...
