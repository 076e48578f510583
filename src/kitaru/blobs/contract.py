"""What the rest of Kitaru may ask of a place for large values.

A blob is bytes under the hexadecimal SHA-256 of those bytes. It never changes; equal bytes are one blob,
whoever writes them and however often. Blobs know nothing of the rows that name them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class BlobStore(Protocol):
    """Bytes under their digest. Safe to use from any thread and process.

    Every method raises `KitaruBackendError` if the place does not work, and `KitaruUsageError` for what
    is no digest.
    """

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        ...

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest.

        Durability: the blob is complete and flushed to disk when this returns, and absent or complete
        whenever the process dies. Safe to repeat and to race.
        """
        ...

    def get(self, digest: str) -> bytes:
        """Return the bytes, which are checked against their digest.

        Raises:
            KitaruBackendError: The blob is missing or damaged.
        """
        ...

    def has(self, digest: str) -> bool:
        """Return whether there is such a blob; its bytes are not checked."""
        ...

    def size(self, digest: str) -> int:
        """Return how many bytes the blob has.

        Raises:
            KitaruBackendError: The blob is missing.
        """
        ...

    def delete(self, digest: str) -> None:
        """Remove the blob, if it is there. Only for blobs that no row names."""
        ...

    def list_digests(self) -> Iterator[str]:
        """Yield the digests of all blobs, in order."""
        ...
