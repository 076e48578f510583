"""What the rest of Kitaru may ask of a place for large values.

A blob is bytes under the hexadecimal SHA-256 of those bytes. It never changes; equal bytes are one blob,
whoever writes them and however often. Blobs know nothing of the rows that name them.

Collecting. Somebody puts a blob and commits the row that names it later, perhaps hours later; equal bytes
may have lain there for months. So every blob knows when it was last put, and who collects removes only what
no row names and was last put before a moment that lies before every row that is still to come
(`collecting.py`). `delete_if_stale` looks at that moment after nobody can put the blob without noticing that
it is gone. An object store has both: the moment is that of the object's last writing, a put of what is there
copies it onto itself, and the deletion is conditional on the version that was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class BlobEntry:
    """A blob as a list shows it.

    Attributes:
        digest: Of its bytes.
        size: How many they are.
        put_at: When it was last put or renewed, in microseconds since the epoch.
    """

    digest: str
    size: int
    put_at: int


class BlobStore(Protocol):
    """Bytes under their digest. Safe to use from any thread and process.

    Every method raises `KitaruBackendError` if the place does not work, and `KitaruUsageError` for what
    is no digest.
    """

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        ...

    def put(self, data: bytes | memoryview) -> str:
        """Keep `data` and return its digest. Putting what is there renews it.

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

    def renew(self, digest: str) -> bool:
        """Make a blob as if it had just been put, if it is there; return whether it is.

        For whoever is about to write a row that names a blob because another row does.

        Durability: it will not be collected before a row may name it. Safe to repeat and to race.
        """
        ...

    def list_blobs(self, *, after: str = "") -> Iterator[BlobEntry]:
        """Yield the blobs whose digests come after `after`, in order.

        What a deletion that died has left half done is undone first.
        """
        ...

    def delete_if_stale(self, digest: str, *, before: int) -> bool:
        """Remove a blob unless it was put at or after `before`; return whether it is gone by that.

        Whoever puts the blob at the same time has it when `put` returns, whatever happens here.

        Durability: whenever the process dies, the blob is still there for `get` and `put`, or gone.
        """
        ...

    def clear_abandoned(self, *, before: int) -> int:
        """Remove what writers that died before `before` have left; return how many bytes that were."""
        ...

    def list_digests(self) -> Iterator[str]:
        """Yield the digests of all blobs, in order."""
        ...


class ServedBlobs(BlobStore, Protocol):
    """A place for blobs that can stand behind a server."""

    def open(self, digest: str) -> BinaryIO:
        """Return a file of the blob's bytes, which are not checked; the caller closes it.

        Raises:
            KitaruBackendError: The blob is missing.
        """
        ...
